import { McpAuthError, type McpAuthErrorDetails } from "../errors.ts";

/**
 * The error for a response that says nothing about the request itself: 429 and 5xx.
 *
 * @param now milliseconds since 1970, for a `Retry-After` that is a date
 */
export function faultOf(response: Response, details: McpAuthErrorDetails, now: number): McpAuthError | undefined {
  const { status } = response;
  const code = status === 429 ? "rate_limited" : status >= 500 && "server_error";
  return code ? new McpAuthError(code, { ...details, status, retryAfterMs: retryAfter(response, now) }) : undefined;
}

/** The error for a server that did not respond, with the runtime's reason where it has one, such as `ECONNREFUSED`. */
export function unreachable(cause: unknown, detail?: string, serverUrl?: string): McpAuthError {
  const { code } = Object((cause as Error | undefined)?.cause ?? cause) as { code?: unknown };
  const reason = typeof code === "string" ? code : undefined;
  return new McpAuthError("network_error", {
    detail: [detail, reason].filter(Boolean).join(", "),
    hint: trustHint(reason),
    serverUrl,
    cause,
  });
}

/** OpenSSL's names for a certificate whose issuer is not trusted. */
const untrusted = /^(UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|(DEPTH_ZERO_)?SELF_SIGNED_CERT(_IN_CHAIN)?)$/;

/** Mostly a company's own CA, or its proxy: the machine may trust it, and the runtime does not ask the machine. */
function trustHint(reason: string | undefined): string | undefined {
  if (reason === undefined || !untrusted.test(reason)) return undefined;
  return "If the certificate is your company's: set NODE_EXTRA_CA_CERTS to its CA's file, or start Node with --use-system-ca.";
}

/** Milliseconds that `Retry-After` asks to wait (RFC 9110 §10.2.3). */
function retryAfter(response: Response, now: number): number | undefined {
  const value = response.headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** What to say of a firewall that responds in the server's place and asks for a browser. Cloudflare marks such pages. */
export function firewall({ headers }: Response): { detail: string; hint: string } | undefined {
  if (headers.get("cf-mitigated") !== "challenge") return undefined;
  return {
    detail: "a firewall before the server, Cloudflare's, asks for a browser",
    hint: "Try from another network, or ask the operator of the server to let programs pass.",
  };
}
