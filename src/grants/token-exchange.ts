import { joinScopes } from "../authorization/scopes.ts";
import { McpAuthError } from "../errors.ts";
import { quoted, text } from "../http/json.ts";
import { checkOptions, needed, type Rules, text as textRule } from "../options.ts";
import { askedRules, tokenRequestRules } from "./options.ts";
import { askForTokens, presentable, seconds, type TokenRequestOptions } from "./token-request.ts";

/** `grant_type` of RFC 8693. */
export const tokenExchangeGrantType = "urn:ietf:params:oauth:grant-type:token-exchange";

/** Identifiers of kinds of tokens (RFC 8693 §3). */
export const tokenTypes = {
  accessToken: "urn:ietf:params:oauth:token-type:access_token",
  refreshToken: "urn:ietf:params:oauth:token-type:refresh_token",
  idToken: "urn:ietf:params:oauth:token-type:id_token",
  jwt: "urn:ietf:params:oauth:token-type:jwt",
  saml1: "urn:ietf:params:oauth:token-type:saml1",
  saml2: "urn:ietf:params:oauth:token-type:saml2",
  /** An identity provider's assertion for another authorization server: enterprise-managed authorization. */
  idJag: "urn:ietf:params:oauth:token-type:id-jag",
} as const;

/** A token to exchange, and what is wanted for it. */
export interface TokenExchange extends TokenRequestOptions {
  /** Stands for the party on whose behalf the request is made. */
  subjectToken: string;
  /** What kind of token it is: one of {@link tokenTypes}, or another URI. */
  subjectTokenType: string;
  /** Stands for the party that acts. Default: the client itself, as the server sees it. */
  actorToken?: string | undefined;
  /** What kind of token that is. Needed with `actorToken`. */
  actorTokenType?: string | undefined;
  /** What kind of token is wanted. Default: what the server gives, usually an access token. */
  requestedTokenType?: string | undefined;
  /** Logical name of the service where the token will be used. */
  audience?: string | undefined;
  /** URL of that service (RFC 8707). */
  resource?: string | undefined;
  /** Scopes to ask for. Default: what the server gives. */
  scopes?: readonly string[] | undefined;
  /** Further parameters that some servers need. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

const exchangeRules = (): Rules<TokenExchange> => ({
  ...tokenRequestRules(),
  ...askedRules(),
  subjectToken: needed(textRule),
  subjectTokenType: needed(textRule),
  actorToken: textRule,
  actorTokenType: textRule,
  requestedTokenType: textRule,
  audience: textRule,
});

/** The result of an exchange. */
export interface ExchangedToken {
  /** The token, of whatever kind. */
  token: string;
  /** What kind it is. */
  issuedTokenType: string;
  /** How an access token is used, such as `Bearer`; `N_A` for what is none. */
  tokenType: string;
  /** Lifetime in seconds. */
  expiresIn?: number | undefined;
  /** Granted scopes where they differ from what was asked, as the answer has them: separated by spaces. */
  scope?: string | undefined;
  /** Only some servers give one. */
  refreshToken?: string | undefined;
}

/**
 * Exchanges one token for another: one token request. For a service that acts on behalf of its caller, and for getting a
 * token that is good elsewhere.
 *
 * A response is refused that has another kind of token than was requested, or names none although one was requested.
 *
 * @throws McpAuthError `invalid_option` for an actor token without its type, `invalid_token_response`, and what other token
 *   requests throw: `invalid_grant` when the server refuses a token that was given, `invalid_client`, `token_request_refused`
 *   (`invalid_target` and others), `server_error`, `rate_limited`, `discovery_failed`, and what `http.fetch` throws
 * @see RFC 8693 §2
 * @example An MCP server that calls another one in the name of its own caller:
 * ```ts
 * const http = createHttp();
 * const server = await discoverAuthorizationServer("https://as.example.com", { http });
 * const client = { clientId: "reports", clientSecret, tokenEndpointAuthMethod: "client_secret_basic" } as const;
 *
 * async function tokenFor(callerToken: string) {
 *   const subject = { subjectToken: callerToken, subjectTokenType: tokenTypes.accessToken };
 *   return (await exchangeToken({ server, client, http, ...subject, resource: "https://data.example.com/mcp" })).token;
 * }
 * ```
 */
export async function exchangeToken(exchange: TokenExchange): Promise<ExchangedToken> {
  checkOptions(exchange, exchangeRules());
  return readExchanged(await askForExchange(exchange), exchange);
}

/** Sends the request. @returns the response, not yet checked: it may hold a refresh token that must not be lost */
export async function askForExchange(exchange: TokenExchange): Promise<TokenEndpointResponse> {
  const { actorToken, actorTokenType } = exchange;
  if ((actorToken === undefined) !== (actorTokenType === undefined)) {
    throw new McpAuthError("invalid_option", { detail: "`actorToken` and `actorTokenType` belong together" });
  }
  const parameters = {
    ...exchange.parameters,
    subject_token: exchange.subjectToken,
    subject_token_type: exchange.subjectTokenType,
    actor_token: actorToken,
    actor_token_type: actorTokenType,
    requested_token_type: exchange.requestedTokenType,
    audience: exchange.audience,
    resource: exchange.resource,
    scope: joinScopes(exchange.scopes),
  };
  return askForTokens(tokenExchangeGrantType, parameters, exchange);
}

/** Reads the response. @throws McpAuthError `invalid_token_response` */
export function readExchanged({ body, status }: TokenEndpointResponse, { server, requestedTokenType }: TokenExchange): ExchangedToken {
  const wrong = (detail: string) => new McpAuthError("invalid_token_response", { issuer: server.issuer, status, detail });
  const token = presentable(body.access_token);
  if (token === undefined) throw wrong("`access_token` is missing or not usable");
  const issued = text(body.issued_token_type);
  // A token of another kind may be good for more than its receiver should have.
  if (requestedTokenType !== undefined && issued !== requestedTokenType) {
    throw wrong(`\`issued_token_type\` is ${issued === undefined ? "missing" : quoted(issued)}`);
  }
  const issuedTokenType = issued ?? tokenTypes.accessToken;
  return {
    token,
    issuedTokenType,
    tokenType: text(body.token_type) ?? (issuedTokenType === tokenTypes.accessToken ? "Bearer" : "N_A"),
    expiresIn: seconds(body.expires_in),
    scope: text(body.scope),
    refreshToken: text(body.refresh_token),
  };
}

type TokenEndpointResponse = Awaited<ReturnType<typeof askForTokens>>;
