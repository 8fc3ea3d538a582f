import { McpAuthError } from "../../errors.ts";
import { readJwtClaims } from "../../grants/jwt-claims.ts";

/** Far more than any real assertion needs. */
export const maxAssertionBytes = 64 * 1024;

/**
 * Trims an assertion and checks that it looks like a JWT.
 *
 * @param from names the source in the message, which never quotes the assertion
 * @throws McpAuthError `assertion_unavailable`
 */
export function checkedAssertion(output: string, from: string): string {
  const assertion = output.trim();
  if (assertion.length > maxAssertionBytes) throw unavailable(`${from} is larger than ${maxAssertionBytes} bytes`);
  if (assertion === "") throw unavailable(`${from} is empty`);
  if (!readJwtClaims(assertion)) throw unavailable(`${from} is not a JWT`);
  return assertion;
}

/** @param hint what can be done. Default: the code's own */
export function unavailable(detail: string, hint?: string): McpAuthError {
  return new McpAuthError("assertion_unavailable", { party: "machine", detail, hint });
}
