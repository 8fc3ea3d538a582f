import { type ProtectedServer, type ProtectedServerOptions, startProtectedServer } from "../test/fixture/index.ts";

/** Lifetime of access tokens, in seconds: shorter than what metadata is kept for, longer than mcp-remote's margin of 60. */
export const lifetimeSeconds = 120;

/** A server that rotates refresh tokens, and ends the login of which one is used twice. */
export function startServer({ authorizationServer, ...options }: ProtectedServerOptions = {}): Promise<ProtectedServer> {
  // SDKs and mcp-remote name the scopes at registration: the authorization server must know them as its own, too.
  const configuration = { scopes: ["openid", "offline_access", "mcp:read", "mcp:write"] };
  return startProtectedServer({
    ...options,
    authorizationServer: { configuration, accessTokenTtlSeconds: lifetimeSeconds, ...authorizationServer },
  });
}
