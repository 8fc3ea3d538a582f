import { type Clock, systemClock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";
import { checkOptions, clock as clockRule, type Rules } from "../options.ts";
import { Pause } from "../pause.ts";
import { type CertificateBytes, type ClientCertificate, checkCertificate } from "./client-certificate.ts";

export type { CertificateBytes, ClientCertificate };

/** Options of {@link mutualTls}. */
export interface MutualTlsOptions {
  /** Tells what has expired. Default: `systemClock`. */
  clock?: Clock | undefined;
}

export const mutualTlsRules = (): Rules<MutualTlsOptions> => ({ clock: clockRule() });

const undici = "Run `npm install undici@7`.";

/** How often a certificate that may have been renewed is asked for, in ms. */
const askEveryMs = 60_000;

/** Connections that present one certificate. */
interface Connections {
  certificate: ClientCertificate;
  /** Milliseconds since 1970. */
  expiresAt: number;
  /** `dispatcher` of Node's `fetch`. */
  dispatcher: unknown;
}

/**
 * A `fetch` that presents a client certificate at each https connection, to the protected server as well as to the
 * authorization server. Needs Node and the package `undici`: in Bun, Deno and workers a `fetch` of your own presents the
 * certificate. It is not subject to `HTTP_PROXY`, nor to a dispatcher that the app
 * has set globally.
 *
 * @param certificate the certificate, or what reads it: asked again after a minute at the earliest, for certificates
 *   that are renewed on disk. One that cannot be used then does not replace one that still can.
 * @returns what throws `network_error` where the server refuses the certificate, or its own is not to be trusted;
 *   `credential_expired` where it refuses one that has expired meanwhile
 * @throws McpAuthError `invalid_option` for what cannot be read, does not belong together or is not valid yet,
 *   `credential_expired`; for a function, which may also fail (`credential_unavailable`), and without `undici`, at the
 *   first request
 * @see RFC 8705
 * @example
 * ```ts
 * const fetch = mutualTls({ cert: readFileSync("client.pem"), key: readFileSync("client.key") });
 * ```
 */
export function mutualTls(
  certificate: ClientCertificate | (() => ClientCertificate | Promise<ClientCertificate>),
  options: MutualTlsOptions = {},
): typeof globalThis.fetch {
  checkOptions(options, mutualTlsRules());
  const { clock = systemClock } = options;
  const read = typeof certificate === "function" ? reading(certificate) : () => certificate;
  /** While the certificate is not asked for again. */
  const recent = new Pause<true>(clock);
  let current: Promise<Connections> | undefined;
  assertNode();
  if (typeof certificate !== "function") checkCertificate(certificate, clock.now());

  async function renewed(old: Connections | undefined): Promise<Connections> {
    try {
      const certificate = { ...(await read()) };
      if (old && process.getBuiltinModule("node:util").isDeepStrictEqual(certificate, old.certificate)) return old;
      return await connectionsWith(certificate, clock.now());
    } catch (error) {
      // It may be just being written.
      if (old && clock.now() < old.expiresAt) return old;
      throw error;
    }
  }

  function connections(): Promise<Connections> {
    if (current && (typeof certificate !== "function" || recent.reason)) return current;
    const before = current;
    const next = (async () => renewed(await before))();
    recent.start(true, askEveryMs);
    current = next;
    // What has failed is tried anew by the next request.
    next.catch(() => {
      if (current === next) current = undefined;
    });
    return next;
  }

  return async (input, init) => {
    const { dispatcher, expiresAt } = await connections();
    try {
      return await globalThis.fetch(input, { ...init, dispatcher } as RequestInit);
    } catch (error) {
      throw explained(error, new URL(input instanceof Request ? input.url : input).origin, expiresAt <= clock.now());
    }
  };
}

/** Others have a `fetch` that would leave the certificate, and `ca`, out without a word. */
function assertNode(): void {
  const { node, bun, deno } = globalThis.process?.versions ?? {};
  if (node && !bun && !deno && globalThis.navigator?.userAgent !== "Cloudflare-Workers") return;
  const hint = "Pass a `fetch` of your own, with `tls` in Bun, `Deno.createHttpClient`, or a Worker's mTLS binding.";
  throw new McpAuthError("invalid_option", { detail: "`mutualTls` needs Node", hint });
}

/** The app's function, whose failures say what has failed. */
function reading(certificate: () => ClientCertificate | Promise<ClientCertificate>): () => Promise<ClientCertificate> {
  return async () => {
    try {
      return await certificate();
    } catch (cause) {
      if (cause instanceof McpAuthError) throw cause;
      throw new McpAuthError("credential_unavailable", { detail: "the function that reads the client certificate failed", cause });
    }
  };
}

async function connectionsWith(certificate: ClientCertificate, now: number): Promise<Connections> {
  const expiresAt = checkCertificate(certificate, now);
  const { Agent } = await import("undici").catch((cause) => {
    throw new McpAuthError("invalid_option", { detail: "client certificates need the package undici", hint: undici, cause });
  });
  type Connect = NonNullable<ConstructorParameters<typeof Agent>[0]>["connect"];
  // Node's types know no bytes but its own.
  return { certificate, expiresAt, dispatcher: new Agent({ connect: certificate as Connect & object }) };
}

/** Says what of TLS has failed, where it was that. */
function explained(error: unknown, origin: string, isExpired: boolean): unknown {
  const cause = (error as { cause?: { code?: string; reason?: string; message?: string } } | null)?.cause;
  const { code = "", reason = "", message = "" } = cause ?? {};
  // An `Agent` of another generation than Node's own `fetch`.
  if (code === "UND_ERR_INVALID_ARG" && /^invalid on\w+ method/.test(message))
    return new McpAuthError("invalid_option", {
      detail: "the installed undici does not fit this version of Node",
      hint: undici,
      cause: error,
    });
  const because = (detail: string, isOurs = false, hint?: string) =>
    new McpAuthError(isOurs && isExpired ? "credential_expired" : "network_error", { detail: `${origin} ${detail}`, hint, cause: error });
  if (/_ALERT_/.test(code)) return because(`refuses the client certificate, or this kind of TLS (${reason || code})`, true);
  if (/_CERT_|_CERT$|LEAF_SIGNATURE|^CERT_/.test(code)) {
    const isUnknown = /SELF_SIGNED|ISSUER|LEAF/.test(code);
    const hint = isUnknown ? "Pass the certificate of its issuer as `ca`." : undefined;
    return because(`has a certificate that is not to be trusted (${code})`, false, hint);
  }
  if (/^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/.test(code)) return because("ended the connection, and may refuse the client certificate", true);
  return error;
}
