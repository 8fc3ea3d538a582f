import { probe } from "../login/probe.ts";
import type { ServerSession } from "../tokens/session.ts";
import { bearerHeaders } from "../transports/bearer.ts";

/**
 * Whether a server that refuses a good token has lost the session of the request: some say so by 401, where 404 is right.
 * Then no login helps. The server refuses the token within the session, takes it outside of one, and takes nobody without.
 *
 * @throws `signal.reason`
 * @see MCP 2025-11-25, Transports, Session Management
 */
export async function hasLostSession(
  session: ServerSession,
  bearer: string,
  sessionId: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const token = bearerHeaders(bearer);
  const isRefused = async (headers: Record<string, string>) => (await probe(session, signal, headers)) !== undefined;
  const asking = [{ ...token, "mcp-session-id": sessionId }, token, {}].map(isRefused);
  // A server that fails now says nothing of the session.
  const [within, outside, without] = await Promise.all(asking).catch(() => []);
  signal?.throwIfAborted();
  return within === true && outside === false && without === true;
}
