import { McpAuthError, type McpAuthErrorDetails } from "../errors.ts";

/**
 * The error for an answer that says nothing about the request itself: 429 and 5xx.
 *
 * @param now milliseconds since 1970, for a `Retry-After` that is a date
 */
export function faultOf(response: Response, details: McpAuthErrorDetails, now: number): McpAuthError | undefined {
  const { status } = response;
  const code = status === 429 ? "rate_limited" : status >= 500 && "server_error";
  return code ? new McpAuthError(code, { ...details, status, retryAfterMs: retryAfter(response, now) }) : undefined;
}

/** Milliseconds that `Retry-After` asks to wait (RFC 9110 §10.2.3). */
function retryAfter(response: Response, now: number): number | undefined {
  const value = response.headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
