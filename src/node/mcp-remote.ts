import type { Store } from "../stores/store.ts";
import type { TokenManagerOptions } from "../tokens/options.ts";
import type { McpRemoteLocation } from "./mcp-remote-files.ts";

export type { McpRemoteLocation };

/** Options of {@link importFromMcpRemote}. Those that mcp-remote was given as well must say the same. */
export interface McpRemoteImportOptions
  extends McpRemoteLocation,
    Pick<
      TokenManagerOptions,
      "account" | "tokenEndpointAuthMethod" | "issuer" | "strictIssuer" | "fetch" | "allowInsecure" | "onEvent" | "clock"
    > {
  /** Where the login goes: the store that the app uses. */
  store: Store;
  /** The client of `--static-oauth-client-info`, which mcp-remote keeps in no file. */
  clientId?: string | undefined;
  /** Its secret, where it has one. */
  clientSecret?: string | undefined;
  /** Replaces a login that the store has already. Default `false`. */
  overwrite?: boolean | undefined;
}

/** Why an import brought no tokens, or no refresh token. */
export type McpRemoteImportReason =
  /** mcp-remote has nothing about this server, under these options. */
  | "nothing-found"
  /** It has, but the files cannot be used: see `problems`. */
  | "unreadable"
  /** The store has a login of this account at this server. */
  | "already-logged-in"
  /** The access token has expired, and there is no refresh token. */
  | "expired"
  /** The login was made at another authorization server than the one that the server, or `issuer`, names. */
  | "other-issuer"
  /** Nothing tells which authorization server gave the refresh token, so that it can be sent to none: see `issuer`. */
  | "issuer-unknown"
  /** Nothing tells to which client the refresh token was given: see `clientId`. */
  | "client-unknown";

/** What an import brought. No tokens are in it. */
export interface McpRemoteImport {
  /** Whether the store has a login now that came from mcp-remote. */
  tokens: boolean;
  /** Whether that login can be refreshed: without, it ends with its access token. */
  refreshable: boolean;
  /** Whether mcp-remote's registration was taken over, for the next login. */
  registration: boolean;
  /** Why there are no tokens, or no refresh token. */
  reason?: McpRemoteImportReason | undefined;
  /** The files that were used. */
  files: readonly string[];
  /** Files that were not, and why. */
  problems: readonly string[];
  /** What the user must know now, in plain English. */
  notice?: string | undefined;
}

/**
 * Takes over a login and its registration from mcp-remote's folder, so that a user who switches need not log in again. That
 * folder is only read. An access token that has expired meanwhile is refreshed by the first call.
 *
 * **mcp-remote must not be used for this server afterwards**: both hold the same refresh token, and servers that rotate
 * them end a login whose token is used twice. End mcp-remote first, and tell the user (`notice`).
 *
 * A refresh token is shown to nobody but the authorization server that gave it. Newer versions of mcp-remote note that
 * server; older ones do not, and today's may be another one: then the token's own `iss` must name today's, or the app's
 * `issuer` must. Without, the access token alone is taken over, which goes nowhere but to the protected server itself.
 *
 * Old versions of mcp-remote, such as 0.1.29, had one login a server: leave `resource`, `headers` and the like out for these.
 * Logins of `--client-credentials` are not worth importing: a program gets new ones by itself.
 *
 * @param serverUrl the protected server, as mcp-remote was given it
 * @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option`; where there is something to import, also every
 *   code of discovery, `lock_timeout` and what the store throws: nothing has been imported then
 * @example
 * ```ts
 * const store = sqliteStore({ app: "acme" });
 * const { notice } = await importFromMcpRemote("https://mcp.example.com/mcp", { store });
 * if (notice) console.log(notice);
 * const auth = createMcpAuth("https://mcp.example.com/mcp", { store });
 * ```
 */
export async function importFromMcpRemote(serverUrl: string | URL, options: McpRemoteImportOptions): Promise<McpRemoteImport> {
  return (await import("./mcp-remote-import.ts")).importFromMcpRemote(serverUrl, options);
}
