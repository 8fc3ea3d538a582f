import type { MachineTokenManager } from "../../machine/machine-token-manager.ts";
import { checkOptions } from "../../options.ts";
import type { TokenManager } from "../../user/token-manager.ts";
import { type EnvironmentOptions, environmentRules } from "./options.ts";

/**
 * What the variables `MCP_AUTH_*` of the environment describe: a program with credentials of its own, or else a user.
 *
 * The credentials of a program are `MCP_AUTH_CLIENT_ID` with `MCP_AUTH_CLIENT_SECRET`, `MCP_AUTH_PRIVATE_KEY` or a client
 * certificate; `MCP_AUTH_WORKLOAD`; or `MCP_AUTH_IDP_ISSUER` with a user's ID token. Every secret may be in a file, which
 * the same name with `_FILE` tells. An empty variable counts as unset. Without credentials it is `createMcpAuth`, which
 * asks nobody in `CI`. The README lists all variables.
 *
 * The token of a program is in the default store, so that all processes of a job share one; where nothing can be written,
 * or an assertion does not say whose it is, it is in memory.
 *
 * @throws McpAuthError `invalid_environment`, which names every variable that is missing, unknown or contradicts another,
 *   and no value; `invalid_url`, `insecure_url`, `invalid_option`
 * @example
 * ```ts
 * const auth = await fromEnvironment();
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export async function fromEnvironment(options: EnvironmentOptions = {}): Promise<TokenManager | MachineTokenManager> {
  checkOptions(options, environmentRules());
  return (await import("./from-environment.ts")).fromEnvironment(process.env, options);
}
