import { McpAuthError, withoutQuery } from "../errors.ts";
import { quoted } from "../http/json.ts";
import { hintFor } from "../http/refusal-hints.ts";
import { checkOptions, flag, needed, query, record, text } from "../options.ts";
import type { PendingAuthorization } from "./pending.ts";

/** What the authorization server sent back to the redirect URI, checked. */
export interface AuthorizationResponse {
  /** Authorization code, to be exchanged once. */
  code: string;
}

/**
 * Checks an authorization response before anything in it is used.
 *
 * The order matters: `state` says whether the response is ours at all, `iss` who sent it; only then may even an error
 * in it be believed.
 *
 * @param parameters query of the callback URL, form-decoded
 * @param pending what was recorded before the user was sent away
 * @throws McpAuthError `state_mismatch` when the response belongs to no login of ours (the login goes on),
 *   `issuer_mismatch` when another server sent it, `authorization_denied` and `authorization_error` when the server
 *   refused, `invalid_option`, `invalid_authorization_response` when a parameter is repeated, or there is neither code nor error.
 * @see RFC 6749 §4.1.2, RFC 9207 §2.4; MCP 2026-07-28, Authorization Response Validation
 */
export function checkAuthorizationResponse(parameters: URLSearchParams, pending: PendingAuthorization): AuthorizationResponse {
  checkOptions({ parameters, pending }, { parameters: needed(query()), pending: needed(record) });
  // Without a `state` of ours, a response without one would be ours.
  const { state, issuer, issuerAlias, issParameterSupported } = pending;
  checkOptions(
    { state, issuer, issParameterSupported },
    { state: needed(text), issuer: needed(text), issParameterSupported: needed(flag) },
  );
  checkOptions<{ issuerAlias?: string | undefined }>({ issuerAlias }, { issuerAlias: text });
  return readAuthorizationResponse(parameters, pending);
}

/** {@link checkAuthorizationResponse}, unchecked. */
export function readAuthorizationResponse(parameters: URLSearchParams, pending: PendingAuthorization): AuthorizationResponse {
  const { issuer } = pending;
  // A response that is not ours must not end our login, however malformed it is: this comes before every other check.
  if (stateOf(parameters, issuer) !== pending.state) throw new McpAuthError("state_mismatch", { issuer });

  const iss = single(parameters, "iss", issuer);
  if (iss === undefined ? pending.issParameterSupported : iss !== issuer && iss !== pending.issuerAlias) {
    // Nothing else of what an unknown sender wrote may reach the error: not even its description.
    if (iss !== undefined) throw otherIssuer(iss, issuer);
    throw new McpAuthError("issuer_mismatch", {
      issuer,
      detail: "`iss` is missing, and the server's metadata promise it in every response",
      hint: "Do not log in there; if it is the right server, its operator must send `iss`, or no longer announce it (RFC 9207 §3).",
    });
  }

  const error = single(parameters, "error", issuer);
  if (error !== undefined) {
    const serverDescription = single(parameters, "error_description", issuer);
    throw new McpAuthError(error === "access_denied" ? "authorization_denied" : "authorization_error", {
      issuer,
      serverError: error,
      serverDescription,
      hint: hintFor(error, serverDescription),
    });
  }

  const code = single(parameters, "code", issuer);
  if (!code) throw new McpAuthError("invalid_authorization_response", { issuer, detail: "it has neither `code` nor `error`" });
  return { code };
}

/**
 * What says to which login a response belongs.
 *
 * @param issuer the authorization server, where only one is waited for
 * @throws McpAuthError `state_mismatch` when there is none, or more than one
 */
export function stateOf(parameters: URLSearchParams, issuer?: string): string {
  const [state, ...repeated] = parameters.getAll("state");
  if (!state && isResponse(parameters)) throw withoutState(issuer);
  if (!state || repeated.length > 0) throw new McpAuthError("state_mismatch", { issuer });
  return state;
}

function otherIssuer(iss: string, issuer: string): McpAuthError {
  const hint =
    "Do not log in there. If it is the right server, its operator must send the `issuer` of its metadata; `issuerAlias` accepts one other name.";
  return new McpAuthError("issuer_mismatch", { issuer, detail: `\`iss\` is ${quoted(withoutQuery(iss))}`, hint });
}

function isResponse(parameters: URLSearchParams): boolean {
  return parameters.has("code") || parameters.has("error");
}

/**
 * Authorization servers must repeat `state` (RFC 6749 §4.1.2, §4.1.2.1); one that does not is like any page that
 * sends the browser here. Nothing else in the response says more: `iss` is public. So the login goes on, and nothing of
 * what the sender wrote is believed or repeated.
 */
function withoutState(issuer: string | undefined): McpAuthError {
  return new McpAuthError("state_mismatch", {
    issuer,
    party: "authorization-server",
    detail: "the response has no `state`, without which it cannot be matched to a login",
    hint: "If the authorization server sent it, the mistake is the server's: ask its operator. Its own page or log says why it answered.",
  });
}

/** Whether the error is that of a response without `state`. */
export function lacksState(error: unknown): error is McpAuthError {
  return error instanceof McpAuthError && error.code === "state_mismatch" && error.party === "authorization-server";
}

/** A parameter that must not be repeated (RFC 6749 §3.1). */
function single(parameters: URLSearchParams, name: string, issuer: string): string | undefined {
  const values = parameters.getAll(name);
  if (values.length > 1) throw new McpAuthError("invalid_authorization_response", { issuer, detail: `\`${name}\` is repeated` });
  return values[0];
}
