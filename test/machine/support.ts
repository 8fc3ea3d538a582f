/** Programs and what they find, for tests of machine credentials. */
import { onTestFinished } from "vitest";
import type { AuthEvent } from "../../src/index.ts";
import { MachineTokenManager, type MachineTokenManagerOptions } from "../../src/machine/index.ts";
import { type ProtectedServer, type ProtectedServerOptions, startProtectedServer } from "../fixture/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";

export const clientId = "ci-pipeline";
export const clientSecret = "a secret: with %, + and a space";

/** A fixture of its own for the running test, which knows one program. */
export async function startServer(options: ProtectedServerOptions = {}): Promise<ProtectedServer> {
  const server = await startProtectedServer(options);
  onTestFinished(() => server.close());
  await server.authorizationServer.addClient({
    client_id: clientId,
    client_secret: clientSecret,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  });
  return server;
}

export interface Program {
  auth: MachineTokenManager;
  events: AuthEvent[];
  /** What was told, by type. */
  types(): string[];
  /** Calls a tool, by plain JSON-RPC. */
  call(tool?: string, args?: Record<string, unknown>): Promise<Response>;
}

/** A program with the client's secret, unless `options` say otherwise. */
export function program(server: ProtectedServer, options: Partial<MachineTokenManagerOptions> = {}): Program {
  const events: AuthEvent[] = [];
  const auth = new MachineTokenManager({
    serverUrl: server.url,
    clientId,
    clientSecret,
    onEvent: (event) => void events.push(event),
    ...options,
  });
  onTestFinished(() => auth.dispose());
  return {
    auth,
    events,
    types: () => events.map(({ type }) => type),
    call: (tool = "whoami", args = {}) => auth.fetch(server.url, toolRequest(tool, args)),
  };
}
