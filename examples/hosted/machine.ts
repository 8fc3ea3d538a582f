import express, { type Express } from "express";
import { McpAuthError, type Store, TokenManager } from "mcp-client-auth";
import { HostedLogin, hostedHandlers, nodeHandler, type WebHandler } from "mcp-client-auth/hosted";
import { homePage, signInPage } from "./pages.ts";
import { sessions } from "./sessions.ts";
import { callTool, withTools } from "./tools.ts";

/** What is the same on all machines of the application. */
export interface Settings {
  /** The application's address. */
  baseUrl: string;
  /** The protected MCP server that its users may connect. */
  serverUrl: string;
  /** Shared by all machines. */
  store: Store;
  /** Signs the session cookie. */
  sessionKey: Buffer;
}

const users = ["ann", "bob"];

/** One machine of the application. It keeps nothing: any request may come to any machine. */
export function machine(name: string, { baseUrl, serverUrl, store, sessionKey }: Settings): Express {
  const { cookie, user: userOf } = sessions(sessionKey);
  const shared = { store, clientName: "Acme Agents" };
  const logins = new HostedLogin({ ...shared, redirectUri: `${baseUrl}/mcp/callback` });
  const { connect, callback, disconnect } = hostedHandlers({
    logins,
    account: (request) => userOf(request.headers.get("cookie")),
    serverUrl: () => serverUrl,
  });
  const node = (handler: WebHandler) => nodeHandler(handler, { baseUrl });

  const app = express();
  app.use(express.urlencoded());
  app.post("/mcp/connect", node(connect));
  app.get("/mcp/callback", node(callback));
  app.post("/mcp/disconnect", node(disconnect));

  app.post("/sign-in", ({ body }, response) => {
    const user = String(body?.user);
    if (users.includes(user)) response.setHeader("set-cookie", cookie(user));
    response.redirect(303, "/");
  });
  app.post("/sign-out", (_request, response) => {
    response.setHeader("set-cookie", cookie());
    response.redirect(303, "/");
  });

  /** The page of a user, after `work` if they are connected. */
  const home = async (user: string, work: (auth: TokenManager) => Promise<string | undefined>) => {
    // Cheap to make; one that needs a login finds it in the store.
    await using auth = new TokenManager({ ...shared, serverUrl, account: user });
    try {
      const result = await work(auth);
      const [tools, who] = await withTools(auth, async (client) => [(await client.listTools()).tools, await callTool(client, "whoami")]);
      const { sub } = JSON.parse(who) as { sub: string };
      return homePage({ user, serverUrl, tools: tools.map((tool) => tool.name), subject: sub, result }, name);
    } catch (error) {
      // Not connected yet, or the server has ended it: the page has a button.
      if (error instanceof McpAuthError && error.code === "login_required") return homePage({ user, serverUrl }, name);
      throw error;
    }
  };

  app.get("/", async (request, response) => {
    const user = userOf(request.headers.cookie);
    response.send(user === undefined ? signInPage(users, name) : await home(user, async () => undefined));
  });
  app.post("/add", async (request, response) => {
    const user = userOf(request.headers.cookie);
    if (user === undefined) return response.redirect(303, "/");
    const { a, b } = request.body as Record<string, string>;
    response.send(await home(user, (auth) => withTools(auth, (client) => callTool(client, "add", { a: Number(a), b: Number(b) }))));
  });
  return app;
}
