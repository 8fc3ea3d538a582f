import type { LoginHandler } from "../authorization/login-handler.ts";
import type { Clock } from "../clock.ts";
import type { ProtectedResource } from "../discovery/discovery.ts";
import type { AuthEventListener } from "../events.ts";
import type { DeviceCodePrompt } from "../grants/device-code.ts";
import type { Store } from "../stores/store.ts";

/** How a person's login at one protected server is made, kept and used. Only `serverUrl` is needed. */
export interface TokenManagerOptions {
  /** The protected MCP server. */
  serverUrl: string | URL;

  /** Brings the person to the browser and the answer back. Without it and `onDeviceCode`, only stored or given tokens are used. */
  loginHandler?: LoginHandler | undefined;
  /**
   * Shows the person a code and where to type it in, on any device with a browser. Given, it takes the place of
   * `loginHandler` at servers that offer device codes (RFC 8628), unless this client is given none. What it throws ends
   * the login.
   */
  onDeviceCode?: ((prompt: DeviceCodePrompt) => void | Promise<void>) | undefined;
  /** Whether a person can be asked now. Default: yes, when there is a `loginHandler` or `onDeviceCode`. */
  interactive?: boolean | undefined;
  /** How long a request waits for the person before it fails with `login_pending`, in ms. Default 50,000: below the SDKs' 60 s. */
  waitForLogin?: number | undefined;
  /** How long the person has for a login, in ms. Default 300,000. */
  loginTimeout?: number | undefined;

  /** Name that the authorization server may show to the person. Default `MCP client`. */
  clientName?: string | undefined;
  /** Further members of the dynamic registration (RFC 7591 §2), such as `client_uri` and `logo_uri`. */
  clientMetadata?: Readonly<Record<string, unknown>> | undefined;
  /** A client that was registered beforehand. */
  clientId?: string | undefined;
  /** Its secret, where it has one. */
  clientSecret?: string | undefined;
  /** How that client authenticates. Default: as the server's metadata says, or `none` without a secret. */
  tokenEndpointAuthMethod?: "none" | "client_secret_basic" | "client_secret_post" | undefined;
  /** https URL of this app's client ID metadata document; used where the server supports it. */
  clientMetadataUrl?: string | undefined;
  /** The redirect URIs of a client registered beforehand or of the metadata document. Default: any loopback port. */
  redirectUris?: readonly string[] | undefined;

  /** Scopes that the app wants from the start. Default: what the server's challenge or metadata names. */
  scopes?: readonly string[] | undefined;
  /** The authorization server to use: chosen from the resource's list, or used as it is where there is none. */
  issuer?: string | undefined;
  /** Chooses one of several authorization servers. Default: the first whose metadata is valid. */
  chooseAuthorizationServer?: ((issuers: readonly string[], resource: ProtectedResource) => string | Promise<string>) | undefined;
  /**
   * `false` asks for metadata only after a refusal, first where it says. Default: the well-known places are asked beside
   * the first request, which saves one or two round trips and may ask one place too many.
   */
  speculate?: boolean | undefined;
  /** Refuses an issuer that differs from its metadata only by a final slash after the host. Default `false`. */
  strictIssuer?: boolean | undefined;
  /** `false` leaves the `resource` parameter out, for servers that refuse it. They cannot bind tokens to this server then. */
  resourceParameter?: boolean | undefined;
  /** Further parameters of the authorization request, such as `prompt`. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** Loopback host in redirect URIs. Default `127.0.0.1`. */
  redirectHost?: "127.0.0.1" | "localhost" | undefined;
  /** Repeats the granted scopes in refreshes, for servers that insist. */
  refreshScope?: boolean | undefined;
  /** Presents the ID token to the protected server instead of the access token, for servers that insist. */
  bearer?: "access_token" | "id_token" | undefined;

  /** Where tokens and registrations live. Default: in memory. */
  store?: Store | undefined;
  /** Tells several logins at the same server apart; no slashes. Default: the one that `makeDefault()` has chosen, else `default`. */
  account?: string | undefined;
  /** Refreshes by a timer as well, so that even the first call after a long pause finds a fresh token. Default `false`. */
  keepFresh?: boolean | undefined;

  /** What sends requests, to the protected server as well as to the authorization server. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Host names to which plain http is allowed although they are not loopback. Tokens can be read on the way there. */
  allowInsecure?: readonly string[] | undefined;
  /** Told about everything that matters; never receives a secret. */
  onEvent?: AuthEventListener | undefined;
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
  /** Told about work that must not be cut off, as service workers' `waitUntil`. */
  waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Whether the process knows that it ends: nothing is started in the background then. */
  isEnding?: (() => boolean) | undefined;
}
