import type { LoginHandler } from "../authorization/login-handler.ts";
import { withoutQuery } from "../errors.ts";
import { emitter } from "../events.ts";
import { idleLoginOptions } from "../login/options.ts";
import { callback, checkOptions, type Idle, milliseconds, oneOf, pick, port, ports, type Rules, text } from "../options.ts";
import { checkRuntime } from "../runtime.ts";
import { type TokenManagerOptions, tokenManagerRules } from "../user/options.ts";
import { TokenManager } from "../user/token-manager.ts";
import { debugListener } from "./debug.ts";
import { printDeviceCode } from "./login/device-code.ts";
import { interactivity } from "./login/interactive.ts";
import type { LoopbackLoginOptions } from "./login/loopback/loopback-login.ts";
import { loopbackLogin, pasteLogin } from "./login/on-demand.ts";
import { isEnding, waitUntil } from "./process-end.ts";
import { sqliteStore } from "./stores/on-demand.ts";
import type { SqliteStoreOptions } from "./stores/sqlite.ts";

/** Options of {@link createMcpAuth}: those of `TokenManager`, of the login on this machine, and of {@link sqliteStore}. */
export interface McpAuthOptions
  extends Omit<TokenManagerOptions, "serverUrl" | "waitUntil" | "isEnding">,
    LoopbackLoginOptions,
    Omit<SqliteStoreOptions, "onEvent"> {}

const mcpAuthRules = (): Rules<McpAuthOptions> => {
  const { serverUrl: _, waitUntil: __, isEnding: ___, ...shared } = tokenManagerRules();
  return {
    ...shared,
    port,
    ports,
    callbackPath: text,
    redirectUri: text,
    bindAddress: text,
    page: callback,
    openBrowser: callback,
    print: callback,
    app: text,
    folder: text,
    keychain: ["a keychain, or `false`", (value) => value === false || typeof value === "object" || typeof value === "function"],
    keychainTimeout: milliseconds,
    keychainFailure: oneOf("error", "key-file"),
  };
};

/** A part of the app's own takes the place of ours, and of what ours is told. */
const idleOptions: Idle<McpAuthOptions> = [
  ["app", "store"],
  ["folder", "store"],
  ["keychain", "store"],
  ["keychainTimeout", "store"],
  ["keychainFailure", "store"],
  ["port", "ports"],
  ["port", "loginHandler"],
  ["ports", "loginHandler"],
  ["callbackPath", "loginHandler"],
  ["redirectUri", "loginHandler"],
  ["bindAddress", "loginHandler"],
  ["page", "loginHandler"],
  ["openBrowser", "loginHandler"],
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
  checkOptions(options, mcpAuthRules(), [...idleLoginOptions, ...idleOptions]);
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
  return new TokenManager({
    ...pick(options, tokenManagerRules()),
    serverUrl,
    // An app that shows codes by itself can ask a user where this machine cannot.
    interactive: isOwn ? options.interactive : way !== "none",
    loginHandler: options.loginHandler ?? loginHandlerFor(way, options),
    onDeviceCode: isOwn || way !== "paste" ? options.onDeviceCode : (prompt) => printDeviceCode(prompt, options.print, options.clock),
    store: options.store ?? sqliteStore({ ...options, onEvent: emitter(onEvent, withoutQuery(URL.parse(serverUrl)?.href ?? "")) }),
    onEvent,
    waitUntil,
    isEnding,
  });
}

function loginHandlerFor(way: ReturnType<typeof interactivity>, options: LoopbackLoginOptions): LoginHandler | undefined {
  if (way === "none") return undefined;
  const { port, ports, redirectHost, callbackPath, redirectUri, bindAddress, page, clientName, openBrowser, print } = options;
  const own = { port, ports, redirectHost, callbackPath, redirectUri, bindAddress, page, clientName, print };
  return way === "paste" ? pasteLogin(own) : loopbackLogin({ ...own, openBrowser });
}
