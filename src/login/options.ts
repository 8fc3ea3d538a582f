import type { LoginHandler } from "../authorization/login-handler.ts";
import { machineClientRules, type PrivateKey } from "../client-auth/machine-client.ts";
import type { ProtectedResource } from "../discovery/discovery.ts";
import type { DeviceCodePrompt } from "../grants/device-code.ts";
import {
  callback,
  flag,
  having,
  type Idle,
  milliseconds,
  oneOf,
  type Rules,
  record,
  scopes,
  text,
  texts,
  textsByName,
} from "../options.ts";
import { type SessionOptions, sessionRules } from "../tokens/options.ts";

/** How a user logs in. */
export interface LoginOptions extends SessionOptions {
  /** Brings the user to the browser and the answer back. Without it and `onDeviceCode`, only stored or given tokens are used. */
  loginHandler?: LoginHandler | undefined;
  /**
   * Shows the user a code and where to type it in, on any device with a browser. Given, it takes the place of
   * `loginHandler` at servers that offer device codes (RFC 8628), unless this client is given none. What it throws ends
   * the login.
   */
  onDeviceCode?: ((prompt: DeviceCodePrompt) => void | Promise<void>) | undefined;
  /** Whether a user can be asked now. Default: yes, when there is a `loginHandler` or `onDeviceCode`. */
  interactive?: boolean | undefined;
  /** How long the user has for a login, in ms. Default 300,000. */
  loginTimeout?: number | undefined;
  /** Name that the authorization server may show to the user. Default `MCP client`. */
  clientName?: string | undefined;
  /** Further members of the dynamic registration (RFC 7591 §2), such as `client_uri` and `logo_uri`. */
  clientMetadata?: Readonly<Record<string, unknown>> | undefined;
  /** A client that was registered beforehand. */
  clientId?: string | undefined;
  /** Its secret, where it has one. */
  clientSecret?: string | undefined;
  /** The client's private key, with which it authenticates (`private_key_jwt`): PEM (PKCS #8), JWK, `CryptoKey`, or a signer. */
  privateKey?: PrivateKey | undefined;
  /** `kid` of that key at the authorization server. Default: the one in the JWK, or the signer's. */
  keyId?: string | undefined;
  /** How that client authenticates. Default: as the server's metadata says, or `none` without a secret. */
  tokenEndpointAuthMethod?: "none" | "client_secret_basic" | "client_secret_post" | undefined;
  /** https URL of this app's client ID metadata document; used where the server supports it. */
  clientMetadataUrl?: string | undefined;
  /** The redirect URIs of a client registered beforehand or of the metadata document. Default: any loopback port. */
  redirectUris?: readonly string[] | undefined;
  /** Scopes that the app wants from the start. Default: what the server's challenge or metadata names. */
  scopes?: readonly string[] | undefined;
  /**
   * The authorization server to use: a choice and a check. Chosen from those that the protected server names; used as it is
   * where that names none; `issuer_mismatch`, or `client_issuer_mismatch` with a `clientId`, where it names others alone.
   */
  issuer?: string | undefined;
  /**
   * Where the user logs in, for an authorization server that publishes no metadata: together with `tokenEndpoint` and
   * `issuer`. Nothing is discovered then. S256 is sent; whether the server checks it, nobody says.
   */
  authorizationEndpoint?: string | undefined;
  /** Where tokens are asked for: together with `authorizationEndpoint` and `issuer`. */
  tokenEndpoint?: string | undefined;
  /**
   * The metadata document of the authorization server, for one that has it at a place of its own. Its issuer must be `issuer`
   * where that is given; else its own word counts.
   */
  metadataUrl?: string | undefined;
  /**
   * Issuers that support PKCE with S256 although their metadata do not list it. S256 is sent all the same. Whoever misjudges
   * a server loses what protects the authorization code: one that ignores the challenge is not noticed, and accepts a code
   * that was intercepted or injected. Default: those that are known for it (Microsoft Entra ID, Amazon Cognito, Salesforce).
   *
   * @see RFC 9700 §2.1.1, RFC 7636 §1
   */
  assumePkce?: readonly string[] | undefined;
  /** Chooses one of several authorization servers. Default: the first whose metadata is valid. */
  chooseAuthorizationServer?: ((issuers: readonly string[], resource: ProtectedResource) => string | Promise<string>) | undefined;
  /**
   * `false` asks for metadata only after a refusal, first where it says. Default: the well-known places are asked beside
   * the first request, which saves one or two round trips and may ask one place too many.
   */
  speculate?: boolean | undefined;
  /** Further parameters of the authorization request, such as `prompt`. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** Loopback host in redirect URIs. Default `127.0.0.1`. */
  redirectHost?: "127.0.0.1" | "localhost" | undefined;
  /** Repeats the granted scopes in refreshes, for servers that insist. */
  refreshScope?: boolean | undefined;
  /** Presents the ID token to the protected server instead of the access token, for servers that insist. */
  bearer?: "access_token" | "id_token" | undefined;
}

export const loginRules = (): Rules<LoginOptions> => ({
  ...sessionRules(),
  loginHandler: having("a login handler", "start"),
  onDeviceCode: callback,
  interactive: flag,
  loginTimeout: milliseconds,
  clientName: text,
  clientMetadata: record,
  clientId: text,
  clientSecret: text,
  privateKey: machineClientRules().privateKey,
  keyId: text,
  tokenEndpointAuthMethod: oneOf("none", "client_secret_basic", "client_secret_post"),
  clientMetadataUrl: text,
  redirectUris: texts,
  scopes,
  issuer: text,
  authorizationEndpoint: text,
  tokenEndpoint: text,
  metadataUrl: text,
  assumePkce: texts,
  chooseAuthorizationServer: callback,
  speculate: flag,
  authorizationParameters: textsByName,
  redirectHost: oneOf("127.0.0.1", "localhost"),
  refreshScope: flag,
  bearer: oneOf("access_token", "id_token"),
});

/** A client that exists already is not registered, one with a key needs no secret, an authorization server that is described not looked for. */
export const idleLoginOptions: Idle<
  Pick<
    LoginOptions,
    | "clientMetadata"
    | "clientMetadataUrl"
    | "clientId"
    | "clientSecret"
    | "tokenEndpointAuthMethod"
    | "privateKey"
    | "metadataUrl"
    | "authorizationEndpoint"
  >
> = [
  ["clientMetadata", "clientId"],
  ["clientMetadataUrl", "clientId"],
  ["clientSecret", "privateKey"],
  ["tokenEndpointAuthMethod", "privateKey"],
  ["metadataUrl", "authorizationEndpoint"],
];
