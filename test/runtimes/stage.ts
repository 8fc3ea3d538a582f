/** The servers that a program in another runtime speaks to, and an address at which it asks for the user. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { type Hook, type ProtectedServer, person, startProtectedServer } from "../fixture/index.ts";
import type { Setting } from "./report.ts";

export interface Stage extends AsyncDisposable {
  setting: Setting;
  server: ProtectedServer;
}

const client = { clientId: "nightly-report", clientSecret: "a secret of the test" };

/** As servers that programs in browsers speak to: every origin may read what they say, challenges included. */
const readableInBrowsers: Hook = ({ method }, response) => {
  for (const [name, value] of Object.entries(cors)) response.setHeader(name, value);
  if (method !== "OPTIONS") return false;
  response.writeHead(204).end();
  return true;
};
const cors = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, DELETE",
  "access-control-allow-headers": "authorization, content-type, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id",
  "access-control-expose-headers": "WWW-Authenticate, Mcp-Session-Id",
};

export async function startStage(): Promise<Stage> {
  const server = await startProtectedServer();
  const { authorizationServer: as, mcpServer: mcp } = server;
  await as.addClient({ client_id: client.clientId, client_secret: client.clientSecret, grant_types: ["client_credentials"] });
  as.intercept(readableInBrowsers);
  mcp.intercept(readableInBrowsers);

  const answers: Readonly<Record<string, (body: string) => string | Promise<string>>> = {
    /** The user at the authorization URL; the query of the callback. */
    async "/person"(url) {
      const { callbackUrl, page } = await person(url, { followCallback: false });
      return callbackUrl?.search ?? `?error=server_error&error_description=${encodeURIComponent(page)}`;
    },
    /** The user at the authorization URL, in a browser that loads the callback. */
    async "/browser"(url) {
      return String((await person(url)).status);
    },
    "/revoke"() {
      mcp.revokeAll();
      return "";
    },
    /** What the authorization server was asked for since the last time. */
    "/requests"() {
      const asked = as.requests.splice(0).flatMap(({ grantType, method, path }) => grantType ?? (method === "POST" ? path.slice(1) : []));
      const counted = Object.groupBy(asked, String);
      return JSON.stringify(Object.fromEntries(Object.entries(counted).map(([name, them = []]) => [name, them.length])));
    },
  };
  const control = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const answer = answers[request.url ?? ""];
    const [status, said] = answer ? [200, await answer(await text(request))] : [404, ""];
    response.writeHead(status, cors).end(said);
  });
  await new Promise<void>((resolve) => control.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(control.address() as AddressInfo).port}`;
  return {
    server,
    setting: { serverUrl: server.url, control: origin, client },
    async [Symbol.asyncDispose]() {
      control.closeAllConnections();
      await Promise.all([server.close(), new Promise((resolve) => control.close(resolve))]);
    },
  };
}
