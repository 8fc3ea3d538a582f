import type { LoginHandler } from "../authorization/login-handler.ts";
import { withoutQuery } from "../errors.ts";
import { emitter } from "../events.ts";
import { idleLoginOptions } from "../login/options.ts";
import { checkOptions, type Idle, pick, type Rules } from "../options.ts";
import { checkRuntime } from "../runtime.ts";
import { type TokenManagerOptions, tokenManagerRules } from "../user/options.ts";
import { TokenManager } from "../user/token-manager.ts";
import { TokenManagers } from "../user/token-managers.ts";
import { debugListener } from "./debug.ts";
import { printDeviceCode } from "./login/device-code.ts";
import { interactivity } from "./login/interactive.ts";
import { loopbackLogin, pasteLogin } from "./login/on-demand.ts";
import { idleListenerOptions, type LoopbackLoginOptions, loopbackRules } from "./login/options.ts";
import { isEnding, waitUntil } from "./process-end.ts";
import { defaultStore } from "./stores/on-demand.ts";
import { type SqliteStoreOptions, sqliteRules } from "./stores/options.ts";

/** Options of {@link createMcpAuth}: those of `TokenManager`, of the login on this machine, and of {@link sqliteStore}. */
export interface McpAuthOptions
  extends Omit<TokenManagerOptions, "serverUrl" | "waitUntil" | "isEnding">,
    LoopbackLoginOptions,
    Omit<SqliteStoreOptions, "onEvent"> {}

export const mcpAuthRules = (): Rules<McpAuthOptions> => {
  const { serverUrl: _, waitUntil: __, isEnding: ___, ...shared } = tokenManagerRules();
  return { ...loopbackRules(), ...sqliteRules(), ...shared };
};

/** A part of the app's own replaces ours: options of ours have no effect then. */
export const idleAuthOptions: Idle<McpAuthsOptions> = [
  ...idleLoginOptions,
  ["app", "store"],
  ["folder", "store"],
  ["keychain", "store"],
  ["keychainTimeout", "store"],
  ["keychainFailure", "store"],
  ...idleListenerOptions,
  ["port", "loginHandler"],
  ["ports", "loginHandler"],
  ["callbackPath", "loginHandler"],
  ["redirectUri", "loginHandler"],
  ["bindAddress", "loginHandler"],
  ["page", "loginHandler"],
  ["openBrowser", "loginHandler"],
  ["print", "loginHandler"],
];

/**
 * A user's login at a protected MCP server, from a program on that user's machine:
 *
 * 1. A request is refused (or `authorize()` is called): the server's authorization server is found.
 * 2. This program is registered there, unless it is known.
 * 3. The user logs in in the browser; over SSH in one elsewhere, by a code to type in there where the server offers that,
 *    else by an address to open there. Without a user (`CI`, no terminal and no display) the request fails with
 *    `login_required` at once.
 * 4. The answer arrives at a listener on 127.0.0.1 (that to a code is asked for) and is exchanged for tokens.
 * 5. From then on every request carries a valid token; it is refreshed before it expires, once for all callers and
 *    processes of this app. The login is stored: the next start finds it.
 *
 * `MCP_AUTH_DEBUG=1` prints every event to stderr.
 *
 * @param serverUrl the protected server
 * @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option`, `unsupported_runtime`
 * @example
 * ```ts
 * const auth = createMcpAuth("https://mcp.example.com/mcp", { clientName: "Acme Agent" });
 * await auth.authorize();
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export function createMcpAuth(serverUrl: string | URL, options: McpAuthOptions = {}): TokenManager {
  checkRuntime();
  checkOptions(options, mcpAuthRules(), idleAuthOptions);
  return new TokenManager(composed(serverUrl, options));
}

/** Options of {@link createMcpAuths}: those of {@link createMcpAuth}, for all accounts. */
export interface McpAuthsOptions extends Omit<McpAuthOptions, "account"> {}

/**
 * The logins of many users at one protected MCP server, in one process: {@link createMcpAuth} for each account, with one store
 * for all. What is not in use leaves memory: {@link TokenManagers}.
 *
 * @param serverUrl the protected server
 * @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option`, `unsupported_runtime`
 * @example
 * ```ts
 * const users = createMcpAuths("https://mcp.example.com/mcp", { clientName: "Acme Agents" });
 * const auth = users.forAccount("user-42");
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export function createMcpAuths(serverUrl: string | URL, options: McpAuthsOptions = {}): TokenManagers {
  checkRuntime();
  const { account: _, ...rules } = mcpAuthRules();
  checkOptions(options, rules, idleAuthOptions);
  return new TokenManagers(composed(serverUrl, options));
}

/** The parts of a manager that the app does not replace. */
function composed(serverUrl: string | URL, options: McpAuthOptions): TokenManagerOptions {
  const how = interactivity({
    interactive: options.interactive,
    env: process.env,
    platform: process.platform,
    get isTerminal() {
      return process.stdin.isTTY === true && process.stderr.isTTY === true;
    },
  });
  // An app that opens the browser by itself knows that there is one.
  const way = how === "paste" && options.openBrowser ? "browser" : how;
  const isOwn = options.loginHandler !== undefined || options.onDeviceCode !== undefined;
  const onEvent = debugListener(options.onEvent);
  // It notices the end of the process only from its first call on.
  isEnding();
  return {
    ...pick(options, tokenManagerRules()),
    serverUrl,
    // An app that shows codes by itself can ask a user where this machine cannot.
    interactive: isOwn ? options.interactive : way !== "none",
    loginHandler: options.loginHandler ?? loginHandlerFor(way, options),
    onDeviceCode: isOwn || way !== "paste" ? options.onDeviceCode : (prompt) => printDeviceCode(prompt, options.print, options.clock),
    store:
      options.store ??
      defaultStore({ ...pick(options, sqliteRules()), onEvent: emitter(onEvent, withoutQuery(URL.parse(serverUrl)?.href ?? "")) }),
    onEvent,
    waitUntil,
    isEnding,
  };
}

function loginHandlerFor(way: ReturnType<typeof interactivity>, options: LoopbackLoginOptions): LoginHandler | undefined {
  if (way === "none") return undefined;
  const { port, ports, redirectHost, callbackPath, redirectUri, bindAddress, page, clientName, openBrowser, print } = options;
  const own = { port, ports, redirectHost, callbackPath, redirectUri, bindAddress, page, clientName, print };
  return way === "paste" ? pasteLogin(own) : loopbackLogin({ ...own, openBrowser });
}
