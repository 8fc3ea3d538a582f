import type { AuthEventListener } from "../events.ts";

/** The app's listener, and one that prints every event to stderr where `MCP_AUTH_DEBUG` is set. */
export function debugListener(listener: AuthEventListener | undefined): AuthEventListener | undefined {
  if (!process.env.MCP_AUTH_DEBUG) return listener;
  return (event) => {
    const { type, ...details } = event;
    process.stderr.write(`mcp-client-auth ${type} ${JSON.stringify(details)}\n`);
    listener?.(event);
  };
}
