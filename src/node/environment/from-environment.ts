import { McpAuthError } from "../../errors.ts";
import type { MachineTokenManager } from "../../machine/machine-token-manager.ts";
import type { TokenManager } from "../../user/token-manager.ts";
import type { EnvironmentOptions } from "./options.ts";
import { readSettings, type Settings } from "./settings.ts";

/**
 * What the environment describes. What it does not need is not loaded.
 *
 * @throws McpAuthError `invalid_environment`, `invalid_url`, `insecure_url`, `invalid_option`
 */
export async function fromEnvironment(
  env: NodeJS.ProcessEnv,
  { fetch, ...options }: EnvironmentOptions,
): Promise<TokenManager | MachineTokenManager> {
  const settings = readSettings(env);
  const { serverUrl, isMachine, texts } = settings;
  const { CLIENT_ID: clientId, ISSUER: issuer, ACCOUNT: account, SCOPES: scopes, CLIENT_NAME: clientName } = texts;
  const both = { ...options, fetch: await connection(settings, fetch), clientId, issuer, account, scopes: scopes?.split(/\s+/) };
  if (!isMachine) {
    const { createMcpAuth } = await import("../create-mcp-auth.ts");
    return createMcpAuth(serverUrl, { ...both, clientName });
  }
  const { machineFrom } = await import("./machine.ts");
  return machineFrom(settings, { ...both, serverUrl });
}

/** What sends: the app's own, or with a client certificate, which is read again now and then since it may be renewed. */
async function connection({ secrets }: Settings, fetch: EnvironmentOptions["fetch"]): Promise<EnvironmentOptions["fetch"]> {
  const { CLIENT_CERTIFICATE: cert, CLIENT_CERTIFICATE_KEY: key, CLIENT_CERTIFICATE_CA: ca } = secrets;
  if (!cert) return fetch;
  // One of the two would have no effect.
  if (fetch) throw new McpAuthError("invalid_option", { detail: "`fetch` and MCP_AUTH_CLIENT_CERTIFICATE exclude each other" });
  const { mutualTls } = await import("../mutual-tls.ts");
  return mutualTls(() => ({ cert: pem(cert), key: pem(key), ca: pem(ca) }));
}

/** Variables often carry line breaks as two characters. */
function pem(secret: (() => string) | undefined): string | undefined {
  return secret?.().replaceAll("\\n", "\n");
}
