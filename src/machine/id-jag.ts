import { abortable } from "../async.ts";
import { authenticationOf } from "../client-auth/machine-authentication.ts";
import type { MachineClient } from "../client-auth/machine-client.ts";
import { type AuthorizationServerMetadata, discoverAuthorizationServer } from "../discovery/server-metadata.ts";
import { factsOf, McpAuthError } from "../errors.ts";
import { askForExchange, readExchanged, type TokenExchange, tokenExchangeGrantType, tokenTypes } from "../grants/token-exchange.ts";
import { text } from "../http/json.ts";
import type { AssertionRequest } from "./assertion.ts";

/** A user's sign-on at the company's identity provider, and this program's client there. */
export interface EnterpriseManagedOptions extends MachineClient {
  /** This program's client ID at the identity provider: the client of the sign-on. */
  clientId: string;
  /** The identity provider; its metadata is fetched once. */
  issuer?: string | undefined;
  /** Its token endpoint, if it has no metadata or if its metadata should not decide. */
  tokenEndpoint?: string | undefined;
  /** The sign-on's ID token or refresh token. A function is called at each exchange. */
  subjectToken: string | (() => string | Promise<string>);
  /** Which of the two it is. Default `id_token`. */
  subjectTokenType?: "id_token" | "refresh_token" | undefined;
  /**
   * Stores a new refresh token, which replaces the used one. Required with `refresh_token`: identity providers that rotate
   * them end a sign-on whose token is used twice. No further exchange starts until it has succeeded.
   */
  onRefreshToken?: ((refreshToken: string) => void | Promise<void>) | undefined;
  /** Scopes of the assertion. Default: those of the token request that it is for. */
  scopes?: readonly string[] | undefined;
  /** Further parameters of the exchange. */
  parameters?: Readonly<Record<string, string>> | undefined;
  /** Whose sign-on it is, such as the user's ID. It separates users in a shared store. */
  identity?: string | undefined;
}

/**
 * Exchanges a sign-on's token for assertions (ID-JAGs): one for each authorization server and MCP server.
 *
 * @see RFC 8693 §2; Identity Assertion JWT Authorization Grant; REQ-EMA-01, REQ-EMA-02
 */
export function idJagExchange(options: EnterpriseManagedOptions): (request: AssertionRequest) => Promise<string> {
  const { issuer, tokenEndpoint } = options;
  const provider = identityProvider(options);
  const subject = subjectTokens(options);
  const rotates = options.subjectTokenType === "refresh_token";

  async function exchange(request: AssertionRequest): Promise<string> {
    const { http, clock, signal } = request;
    signal?.throwIfAborted();
    const { server, authentication } = await provider(request);
    const exchangeRequest: TokenExchange = {
      server,
      authentication,
      client: { clientId: options.clientId, clientSecret: options.clientSecret, tokenEndpointAuthMethod: "none" },
      http,
      clock,
      // An exchange that may replace the refresh token is never aborted: its response would be lost.
      signal: rotates ? undefined : signal,
      subjectToken: await subject.current(),
      subjectTokenType: rotates ? tokenTypes.refreshToken : tokenTypes.idToken,
      requestedTokenType: tokenTypes.idJag,
      audience: request.issuer,
      resource: request.resource,
      scopes: options.scopes ?? request.scopes,
      parameters: options.parameters,
    };
    const answer = await askForExchange(exchangeRequest);
    if (rotates) await subject.replace(text(answer.body.refresh_token));
    return readExchanged(answer, exchangeRequest).token;
  }

  /** Exchanges of a refresh token run one after the other. */
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const running = rotates ? last.then(() => exchange(request)) : exchange(request);
    last = running.catch(() => {});
    return abortable(running.catch(atIdentityProvider(issuer ?? tokenEndpoint)), request.signal);
  };
}

/** The identity provider's metadata and the client's authentication there, found once. */
function identityProvider(options: EnterpriseManagedOptions) {
  const { issuer, tokenEndpoint } = options;

  async function find({ http, clock }: AssertionRequest) {
    const server: AuthorizationServerMetadata =
      tokenEndpoint === undefined && issuer !== undefined
        ? await discoverAuthorizationServer(issuer, { http, clock })
        : { issuer: issuer ?? String(tokenEndpoint), token_endpoint: String(tokenEndpoint) };
    if (server.grant_types_supported?.includes(tokenExchangeGrantType) === false) {
      throw new McpAuthError("grant_unsupported", { issuer: server.issuer, detail: tokenExchangeGrantType });
    }
    return { server, authentication: authenticationOf(options, server, clock) };
  }

  let found: ReturnType<typeof find> | undefined;
  return (request: AssertionRequest) => {
    found ??= find(request).catch((error) => {
      found = undefined;
      throw error;
    });
    return found;
  };
}

/** The sign-on's current token: the app's, or the refresh token that has replaced it since. */
function subjectTokens({ subjectToken, onRefreshToken }: EnterpriseManagedOptions) {
  let supplied: string;
  let replacement: { of: string; token: string } | undefined;
  let unsaved: string | undefined;

  async function save(): Promise<void> {
    if (unsaved === undefined) return;
    try {
      await onRefreshToken?.(unsaved);
      unsaved = undefined;
    } catch (cause) {
      const detail = "`onRefreshToken` failed, so the new refresh token is in memory only";
      throw new McpAuthError("assertion_unavailable", {
        detail,
        hint: "Repair `onRefreshToken`; the next exchange calls it again.",
        cause,
      });
    }
  }

  return {
    async current(): Promise<string> {
      await save();
      try {
        supplied = typeof subjectToken === "function" ? await subjectToken() : subjectToken;
      } catch (cause) {
        throw new McpAuthError("assertion_unavailable", { detail: "the function `subjectToken` failed", cause });
      }
      return replacement?.of === supplied ? replacement.token : supplied;
    },
    async replace(token: string | undefined): Promise<void> {
      if (token === undefined) return;
      replacement = { of: supplied, token };
      unsaved = token;
      await save();
    },
  };
}

/** Adds to an error that it failed at the identity provider, not at the authorization server. */
function atIdentityProvider(issuer: string | undefined) {
  return (cause: unknown): never => {
    if (!(cause instanceof McpAuthError) || cause.party === "app") throw cause;
    // This error already says where it failed.
    if (cause.issuer !== undefined && cause.serverError === undefined) throw cause;
    const { code, party } = cause;
    const hint = code === "invalid_grant" ? "Sign on again at the identity provider." : undefined;
    throw new McpAuthError(code, { ...factsOf(cause), issuer, party, hint, detail: "at the identity provider", cause });
  };
}
