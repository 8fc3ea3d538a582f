import { checkOptions } from "../../options.ts";
import type { McpRemoteImport } from "./import.ts";
import { type McpRemoteImportOptions, mcpRemoteRules } from "./options.ts";

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
  checkOptions(options, mcpRemoteRules());
  return (await import("./import.ts")).importFromMcpRemote(serverUrl, options);
}
