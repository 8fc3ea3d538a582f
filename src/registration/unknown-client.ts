import { McpAuthError } from "../errors.ts";

/** Errors by which servers say that they do not know a client, or do not let it in. */
const unknown: readonly (string | undefined)[] = ["invalid_client", "unauthorized_client"];

/**
 * Whether a refusal means that the server does not know the client (any more), whichever endpoint said so.
 *
 * @see RFC 6749 §4.1.2.1, §5.2
 */
export function isUnknownClient(error: unknown): error is McpAuthError {
  if (!(error instanceof McpAuthError)) return false;
  if (error.code === "invalid_client") return true;
  return (error.code === "authorization_error" || error.code === "token_request_refused") && unknown.includes(error.serverError);
}
