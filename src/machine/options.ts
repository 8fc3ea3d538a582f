import { type MachineClient, machineClientRules } from "../client-auth/machine-client.ts";
import { callback, type Rules, scopes, secret, text, textsByName } from "../options.ts";
import { type SessionOptions, sessionRules } from "../tokens/options.ts";
import type { AssertionSource } from "./assertion.ts";

/** How a program gets tokens for one protected server. */
export interface MachineTokenManagerOptions extends Omit<MachineClient, "clientSecret">, Omit<SessionOptions, "account"> {
  /** The authorization server. Default: the one that the protected server names; its metadata is asked for in either case. */
  issuer?: string | undefined;
  /** Where tokens are asked for, for servers without metadata: nothing is discovered then. */
  tokenEndpoint?: string | undefined;
  /** Resource indicator (RFC 8707). Default: what the server's metadata says, else its URL. */
  resource?: string | undefined;
  /** Scopes to ask for. Default: what the server's challenge or metadata names. */
  scopes?: readonly string[] | undefined;
  /** Further parameters of the token request, such as `audience`. */
  tokenParameters?: Readonly<Record<string, string>> | undefined;
  /** The client's secret; a function has 10 seconds, and is asked again when the server refuses what it said last. */
  clientSecret?: string | (() => string | Promise<string>) | undefined;
  /** Speaks for this program instead of client credentials, or together with them (RFC 7523 §2.1). */
  assertion?: AssertionSource | undefined;
  /**
   * Tells several identities with the same client ID apart in a shared store; no slashes. Needed with a `store` where an
   * assertion does not say whose it is. Default `default`.
   */
  account?: string | undefined;
}

export const machineRules = (): Rules<MachineTokenManagerOptions> => ({
  ...sessionRules(),
  ...machineClientRules(),
  clientSecret: secret,
  issuer: text,
  tokenEndpoint: text,
  resource: text,
  scopes,
  tokenParameters: textsByName,
  assertion: callback,
});
