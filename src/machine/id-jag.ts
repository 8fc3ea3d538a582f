import { abortable } from "../async.ts";
import { machineAuthentication } from "../client-auth/machine-authentication.ts";
import type { MachineClient } from "../client-auth/machine-client.ts";
import { type AuthorizationServerMetadata, discoverAuthorizationServer } from "../discovery/server-metadata.ts";
import { factsOf, McpAuthError } from "../errors.ts";
import { askForExchange, readExchanged, type TokenExchange, tokenExchangeGrantType, tokenTypes } from "../grants/token-exchange.ts";
import { text } from "../http/json.ts";
import type { AssertionRequest } from "./assertion.ts";

/** A user's sign-on at the company's identity provider, and who this program is there. */
export interface EnterpriseManagedOptions extends MachineClient {
  /** This program at the identity provider: the client of the sign-on. */
  clientId: string;
  /** The identity provider; its metadata is asked for once. */
  issuer?: string | undefined;
  /** Its token endpoint, where it has no metadata or the request is to go elsewhere. */
  tokenEndpoint?: string | undefined;
  /** What the sign-on gave: an ID token or a refresh token. A function is asked at each exchange. */
  subjectToken: string | (() => string | Promise<string>);
  /** Which of the two. Default `id_token`. */
  subjectTokenType?: "id_token" | "refresh_token" | undefined;
  /**
   * Stores a new refresh token, which replaces the one that was used. Needed with `refresh_token`: identity providers that
   * rotate them end a sign-on whose token is used twice. Until it has succeeded, nothing else is asked for.
   */
  onRefreshToken?: ((refreshToken: string) => void | Promise<void>) | undefined;
  /** Space-separated scopes of the assertion. Default: those of the token request that it is for. */
  scope?: string | undefined;
  /** Further parameters of the exchange. */
  parameters?: Readonly<Record<string, string>> | undefined;
  /** Whose sign-on it is, such as the user's ID: tells users apart in a shared store. */
  identity?: string | undefined;
}

/**
 * Exchanges a sign-on's token for assertions (ID-JAGs), one for each authorization server and MCP server.
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
    const asked: TokenExchange = {
      server,
      authentication,
      client: { clientId: options.clientId, clientSecret: options.clientSecret, tokenEndpointAuthMethod: "none" },
      http,
      clock,
      // A refresh token that is being replaced must arrive, whoever has stopped waiting.
      signal: rotates ? undefined : signal,
      subjectToken: await subject.current(),
      subjectTokenType: rotates ? tokenTypes.refreshToken : tokenTypes.idToken,
      requestedTokenType: tokenTypes.idJag,
      audience: request.issuer,
      resource: request.resource,
      scope: options.scope ?? request.scope,
      parameters: options.parameters,
    };
    const answer = await askForExchange(asked);
    if (rotates) await subject.replace(text(answer.body.refresh_token));
    return readExchanged(answer, asked).token;
  }

  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const running = rotates ? last.then(() => exchange(request)) : exchange(request);
    last = running.catch(() => {});
    return abortable(running.catch(atIdentityProvider(issuer ?? tokenEndpoint)), request.signal);
  };
}

/** Its metadata, and how the client authenticates there: found once. */
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
    return { server, authentication: machineAuthentication(options, server, clock) };
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

/** The sign-on's tokens: what the app gives, or what has replaced it since. */
function subjectTokens({ subjectToken, onRefreshToken }: EnterpriseManagedOptions) {
  let given: string;
  let replaced: { given: string; by: string } | undefined;
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
        given = typeof subjectToken === "function" ? await subjectToken() : subjectToken;
      } catch (cause) {
        throw new McpAuthError("assertion_unavailable", { detail: "the function `subjectToken` failed", cause });
      }
      return replaced?.given === given ? replaced.by : given;
    },
    async replace(by: string | undefined): Promise<void> {
      if (by === undefined) return;
      replaced = { given, by };
      unsaved = by;
      await save();
    },
  };
}

/** Says at which of the two servers it failed. */
function atIdentityProvider(issuer: string | undefined) {
  return (cause: unknown): never => {
    if (!(cause instanceof McpAuthError) || cause.party === "app") throw cause;
    // It says already where it failed.
    if (cause.issuer !== undefined && cause.serverError === undefined) throw cause;
    const { code, party } = cause;
    const hint = code === "invalid_grant" ? "Sign on again at the identity provider." : undefined;
    throw new McpAuthError(code, { ...factsOf(cause), issuer, party, hint, detail: "at the identity provider", cause });
  };
}
