import { McpAuthError } from "../../errors.ts";
import { readJwtClaims } from "../../grants/jwt-claims.ts";

/** The largest assertion that anybody makes is far below. */
export const maxAssertionBytes = 64 * 1024;

/**
 * What a source gave, when it looks like a JWT.
 *
 * @param from what the source is, for the message, which never quotes what it gave
 * @throws McpAuthError `assertion_unavailable`
 */
export function checkedAssertion(given: string, from: string): string {
  const assertion = given.trim();
  if (assertion.length > maxAssertionBytes) throw unavailable(`${from} is larger than ${maxAssertionBytes} bytes`);
  if (assertion === "") throw unavailable(`${from} is empty`);
  if (!readJwtClaims(assertion)) throw unavailable(`${from} is not a JWT`);
  return assertion;
}

/** @param hint what can be done. Default: the code's own */
export function unavailable(detail: string, hint?: string): McpAuthError {
  return new McpAuthError("assertion_unavailable", { party: "machine", detail, hint });
}
