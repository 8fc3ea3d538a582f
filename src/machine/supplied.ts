import { abortable, deadline } from "../async.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError, type McpAuthErrorCode, type McpAuthErrorDetails } from "../errors.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import { tokenRequestLimit } from "../tokens/attempts.ts";
import type { RequestSession } from "./request-session.ts";
import type { Target } from "./target.ts";

/** How long the app's function may take to supply a secret, in ms. Other processes wait meanwhile. */
const secretLimitMs = 10_000;

/**
 * The client's secret.
 *
 * @throws McpAuthError `timeout`; `credential_unavailable` when the app's function fails; `invalid_option` when it returns
 *   nothing, or a value that cannot be a secret
 */
export async function suppliedSecret({ options, clock }: RequestSession): Promise<string | undefined> {
  const { clientSecret } = options;
  if (typeof clientSecret !== "function") return clientSecret && checkedSecret(clientSecret);
  const { signal, stop } = deadline(
    clock,
    secretLimitMs,
    () => new McpAuthError("timeout", { party: "app", detail: `the function \`clientSecret\`, ${secretLimitMs} ms` }),
  );
  try {
    const secret = await abortable(
      supply(clientSecret, "credential_unavailable", { detail: "the function `clientSecret` failed" }),
      signal,
    );
    if (typeof secret !== "string" || secret === "")
      throw new McpAuthError("invalid_option", { detail: "the function `clientSecret` returned nothing" });
    return checkedSecret(secret);
  } finally {
    stop();
  }
}

/** Refuses a line break, which servers report only as a malformed request. @see RFC 6749 §A.2 */
function checkedSecret(secret: string): string {
  if (!/[\r\n]/.test(secret)) return secret;
  throw new McpAuthError("invalid_option", { detail: "`clientSecret` holds a line break", hint: "Trim what comes from a file." });
}

/**
 * The assertion for this server; `undefined` if the program has no source.
 *
 * @param target the server as the request will reach it
 * @throws McpAuthError `assertion_unavailable`; `invalid_assertion` when it is for another audience; `timeout`
 */
export async function suppliedAssertion(
  session: RequestSession,
  { server, resource }: Target,
  scopes: readonly string[],
): Promise<string | undefined> {
  const { options, http, clock } = session;
  const { assertion: source } = options;
  if (!source) return undefined;
  if (typeof source !== "function") throw new McpAuthError("invalid_option", { detail: "`assertion` must be a function" });
  const { issuer, token_endpoint: tokenEndpoint = "" } = server;
  const { signal, stop } = deadline(
    clock,
    tokenRequestLimit(options.requestTimeout),
    () => new McpAuthError("timeout", { issuer, party: "app", detail: "the function `assertion`" }),
  );
  const request = { issuer, tokenEndpoint, resource, scopes: scopes.length > 0 ? scopes : undefined, http, clock, signal };
  const supplied: unknown = await abortable(
    supply(() => source(request), "assertion_unavailable", { issuer }),
    signal,
  ).finally(stop);
  const assertion = typeof supplied === "string" ? supplied.trim() : "";
  if (!assertion) throw new McpAuthError("assertion_unavailable", { issuer, detail: "the function `assertion` returned nothing" });
  // An assertion that cannot be read has no known audience, so it is refused.
  if (!isMeantFor(session, server, readJwtClaims(assertion)?.audience ?? []))
    throw new McpAuthError("invalid_assertion", {
      issuer,
      party: "app",
      detail: "it was made for another audience and was not sent",
      hint: "Correct its audience; if that is right, pass `issuer`.",
    });
  return assertion;
}

/** Refuses a `clientAssertionAudience` that belongs to another server. @throws McpAuthError `invalid_option` */
export function assertAudience(session: RequestSession, server: AuthorizationServerMetadata): void {
  const { clientAssertionAudience: audience, privateKey } = session.options;
  if (privateKey === undefined || audience === undefined || isMeantFor(session, server, [audience])) return;
  const detail = "`clientAssertionAudience` is not the server that was found";
  throw new McpAuthError("invalid_option", { issuer: server.issuer, detail, hint: "Correct it; if it is right, pass `issuer`." });
}

/**
 * Whether a server may get a JWT made for `audience`. Unless the app's options name the authorization server, the protected
 * server does: it must not direct a JWT to a server that could use it elsewhere.
 */
function isMeantFor({ options }: RequestSession, server: AuthorizationServerMetadata, audience: readonly string[]): boolean {
  if (options.issuer !== undefined || options.tokenEndpoint !== undefined) return true;
  const bare = (url: string) => url.replace(/\/$/, "");
  const names = [server.issuer, server.token_endpoint ?? ""].map(bare);
  return audience.some((name) => names.includes(bare(name)));
}

/** Calls a function of the app. Its failure becomes the `cause` of a `McpAuthError`. */
async function supply<T>(source: () => T | Promise<T>, code: McpAuthErrorCode, details: McpAuthErrorDetails): Promise<T> {
  try {
    return await source();
  } catch (cause) {
    throw cause instanceof McpAuthError ? cause : new McpAuthError(code, { ...details, cause });
  }
}
