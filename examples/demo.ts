/**
 * `npm run demo`: everything between "401" and "logged out", in some seconds, against real servers in this process.
 *
 * Whatever does not happen as it is told ends the program with an error.
 */
import { strict as assert } from "node:assert";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { McpAuthError, MemoryStore } from "mcp-client-auth";
import { createMcpAuth, openBrowser } from "mcp-client-auth/node";
import { person, startProtectedServer } from "../test/fixture/index.ts";

const tokenLifetimeSeconds = 3;
const calls = 100;

const { env, stdin, stdout } = process;
// A browser window is for somebody who looks at this terminal.
const hasUser = stdin.isTTY === true && stdout.isTTY === true && !env.CI && !env.SSH_CONNECTION;

let step = 0;
const tell = (title: string, ...lines: string[]) => console.log([`\n${++step}. ${title}`, ...lines].join("\n   "));
const add = (line: string) => console.log(`   ${line}`);

const server = await startProtectedServer({ authorizationServer: { accessTokenTtlSeconds: tokenLifetimeSeconds } });
const { authorizationServer, mcpServer } = server;
if (hasUser) authorizationServer.interaction = "pages";
const tokenRequests = (grant?: string) => authorizationServer.tokenRequests(grant).length;

tell(
  "A protected MCP server and its authorization server have started in this process.",
  `MCP server            ${server.url}`,
  `authorization server  ${authorizationServer.issuer}`,
  `Access tokens live for ${tokenLifetimeSeconds} seconds; a refresh token that is used twice ends the login.`,
);

const auth = createMcpAuth(server.url, {
  clientName: "Demo",
  // The server is gone with the program: nothing is kept.
  store: new MemoryStore(),
  interactive: true,
  // Somebody may read the pages slowly.
  loginPendingTimeout: 240_000,
  print: () => {},
  openBrowser: bringUser,
});
const client = new Client({ name: "demo", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
const call = async (name: string, input: Record<string, unknown> = {}) => {
  const { content, isError } = await client.callTool({ name, arguments: input }, { timeout: 250_000 });
  const [part] = content;
  assert(!isError && part?.type === "text");
  return JSON.parse(part.text) as unknown;
};

/** The one moment at which a user is needed. */
async function bringUser(url: URL): Promise<void> {
  if (authorizationServer.interaction === "pages") {
    add(`Your browser opens: log in as anybody, allow access. If none appears, open ${url.href}`);
    const failed = await openBrowser(url).then(
      () => false,
      () => true,
    );
    if (!failed) return;
    authorizationServer.interaction = "auto";
  }
  add(`${hasUser ? "No browser could be opened" : "No terminal with a desktop here"}: the demo plays the user by itself, who says yes.`);
  await person(url);
}

if (!hasUser) {
  const hang = () => {
    console.error("The demo hangs: ended.");
    process.exit(1);
  };
  setTimeout(hang, 60_000).unref();
}

try {
  const refused = await fetch(server.url, { method: "POST" });
  tell("Without a token the server refuses.", `HTTP ${refused.status}, ${refused.headers.get("www-authenticate")}`);
  assert.equal(refused.status, 401);

  tell("Login: find the authorization server, register there, ask the user.");
  if (hasUser) add("That is you. (`CI=true npm run demo` would play the user by itself.)");
  assert.equal(await auth.authorize(), "authorized");
  add("Logged in.");

  await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
  const { tools } = await client.listTools();
  const who = (await call("whoami")) as { sub: string; scopes: string[] };
  const sum = await call("add", { a: 2, b: 3 });
  assert.equal(sum, 5);
  tell(
    "Calls through the official SDK, with `fetch: auth.fetch`.",
    `Tools: ${tools.map(({ name }) => name).join(", ")}`,
    `whoami: ${who.sub}, allowed: ${who.scopes.join(" ")}`,
    `add 2 + 3: ${sum}`,
  );

  tell(`Waiting ${tokenLifetimeSeconds} seconds, until the access token has expired.`);
  await sleep(tokenLifetimeSeconds * 1000 + 200);

  // The next token is to outlive a user who takes time in the next step.
  authorizationServer.accessTokenTtlSeconds = 600;
  const before = { all: tokenRequests(), refreshes: tokenRequests("refresh_token") };
  const started = performance.now();
  const sums = await Promise.all(Array.from({ length: calls }, (_, a) => call("add", { a, b: 1 })));
  const succeeded = sums.filter((value, a) => value === a + 1).length;
  const requested = tokenRequests() - before.all;
  tell(
    `${calls} calls at once, with the expired token.`,
    `succeeded: ${succeeded} of ${calls}, in ${Math.round(performance.now() - started)} ms`,
    `token requests: ${requested}`,
    `logins alive: ${authorizationServer.liveLogins}`,
  );
  assert.equal(succeeded, calls);
  assert.equal(requested, 1);
  assert.equal(tokenRequests("refresh_token") - before.refreshes, 1);
  assert.equal(authorizationServer.liveLogins, 1);

  tell("A tool that needs another scope (mcp:write): the user is asked for it, then the call is repeated.");
  await call("write_note", { text: "written by the demo" });
  const now = (await call("whoami")) as { scopes: string[] };
  add(`The note is written, once. Allowed now: ${now.scopes.join(" ")}`);
  assert.equal(mcpServer.tools.notes.length, 1);
  assert(now.scopes.includes("mcp:write"));

  await client.close();
  const { refreshTokenRevoked } = await auth.logout();
  tell("Logout: the login is revoked at the server and deleted here.", `refresh token revoked: ${refreshTokenRevoked ? "yes" : "no"}`);
  assert(refreshTokenRevoked);
  await assert.rejects(auth.getAccessToken(), (error) => error instanceof McpAuthError && error.code === "login_required");
  add("Asking for a token now fails with `login_required`.");
  console.log("\nDone. The folder `examples` has the same in a few lines for each SDK.");
} catch (error) {
  // What a user can cause, such as a denied login, is told in words.
  console.error(error instanceof McpAuthError ? `\nThe demo has ended: ${error.message} ${error.hint}` : error);
  process.exitCode = 1;
} finally {
  await client.close();
  await auth.dispose();
  await server.close();
}
