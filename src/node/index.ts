/**
 * For programs on Node: {@link createMcpAuth}, and what it composes: the login by browser, listener and terminal, and the
 * stores of this machine.
 *
 * @module mcp-client-auth/node
 */

import type { LoginHandler } from "../authorization/login-handler.ts";
import { withoutQuery } from "../errors.ts";
import { type AuthEvent, emitter } from "../events.ts";
import type { TokenManagerOptions } from "../tokens/options.ts";
import { TokenManager } from "../tokens/token-manager.ts";
import { printDeviceCode } from "./device-code.ts";
import { interactivity } from "./interactive.ts";
import { loopbackLogin, pasteLogin } from "./login-handlers.ts";
import type { LoopbackLoginOptions } from "./loopback/loopback-login.ts";
import { isEnding, waitUntil } from "./process-end.ts";
import type { SqliteStoreOptions } from "./stores/sqlite.ts";
import { sqliteStore } from "./stores.ts";

export { type BrowserUrlOptions, checkBrowserUrl, openBrowser } from "./browser.ts";
export { printDeviceCode } from "./device-code.ts";
export { type InteractivityFacts, interactivity } from "./interactive.ts";
export { loopbackLogin, pasteLogin } from "./login-handlers.ts";
export type { ListenerLoginOptions, LoopbackLoginOptions } from "./loopback/loopback-login.ts";
export type { LoginOutcome, LoginPage } from "./loopback/page.ts";
export type { RedirectOptions } from "./loopback/redirect-uris.ts";
export type { McpRemoteLocation } from "./mcp-remote/files.ts";
export type { McpRemoteImport, McpRemoteImportOptions, McpRemoteImportReason } from "./mcp-remote/import.ts";
export { importFromMcpRemote } from "./mcp-remote.ts";
export { type CertificateBytes, type ClientCertificate, type MutualTlsOptions, mutualTls } from "./mutual-tls.ts";
export type { PasteLoginOptions } from "./paste.ts";
export { isEnding, waitUntil } from "./process-end.ts";
export { type StdioCredential, type StdioServer, type StdioServerOptions, stdioServer } from "./stdio.ts";
export type { AppOptions } from "./stores/app.ts";
export type { FolderOptions } from "./stores/folder.ts";
export type { KeyOptions } from "./stores/key.ts";
export type { Keychain } from "./stores/keychain/calls.ts";
export type { KeychainOptions } from "./stores/keychain/keychain.ts";
export type { KeychainStoreOptions } from "./stores/keychain/store.ts";
export type { SqliteStoreOptions } from "./stores/sqlite.ts";
export { keychainStore, sqliteStore } from "./stores.ts";

/** Options of {@link createMcpAuth}: those of `TokenManager`, of the login on this machine, and of {@link sqliteStore}. */
export interface McpAuthOptions
  extends Omit<TokenManagerOptions, "serverUrl" | "waitUntil" | "isEnding">,
    Omit<LoopbackLoginOptions, "host" | "appName">,
    Omit<SqliteStoreOptions, "onEvent"> {}

/**
 * A person's login at a protected MCP server, from a program on that person's machine:
 *
 * 1. A request is refused (or `authorize()` is called): the server's authorization server is found.
 * 2. This program is registered there, unless it is known.
 * 3. The person logs in in the browser; over SSH in one elsewhere, by a code to type in there where the server offers that,
 *    else by an address to open there. Without a person (`CI`, no terminal and no display) the request fails with
 *    `login_required` at once.
 * 4. The answer arrives at a listener on 127.0.0.1 (that to a code is asked for) and is exchanged for tokens.
 * 5. From then on every request carries a valid token; it is refreshed before it expires, once for all callers and
 *    processes of this app. The login is stored: the next start finds it.
 *
 * `MCP_AUTH_DEBUG=1` prints every event to stderr.
 *
 * @param serverUrl the protected server
 * @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option`
 * @example
 * ```ts
 * const auth = createMcpAuth("https://mcp.example.com/mcp", { clientName: "Acme Agent" });
 * await auth.authorize();
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export function createMcpAuth(serverUrl: string | URL, options: McpAuthOptions = {}): TokenManager {
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
  const onEvent = process.env.MCP_AUTH_DEBUG ? printing(options.onEvent) : options.onEvent;
  // Only who has asked before can be told when the process ends.
  isEnding();
  return new TokenManager({
    ...options,
    serverUrl,
    // An app that shows codes by itself can ask a person where this machine cannot.
    interactive: isOwn ? options.interactive : way !== "none",
    loginHandler: options.loginHandler ?? loginHandlerFor(way, loopbackOptions(options)),
    onDeviceCode: isOwn || way !== "paste" ? options.onDeviceCode : (prompt) => printDeviceCode(prompt, options.print),
    store: options.store ?? sqliteStore({ ...options, onEvent: emitter(onEvent, withoutQuery(URL.parse(serverUrl)?.href ?? "")) }),
    onEvent,
    waitUntil,
    isEnding,
  });
}

function loginHandlerFor(way: ReturnType<typeof interactivity>, options: LoopbackLoginOptions): LoginHandler | undefined {
  if (way === "none") return undefined;
  return way === "paste" ? pasteLogin(options) : loopbackLogin(options);
}

function loopbackOptions({ clientName, redirectHost, ...options }: McpAuthOptions): LoopbackLoginOptions {
  const { port, ports, callbackPath, redirectUri, bindAddress, page, openBrowser, print } = options;
  return { port, ports, callbackPath, redirectUri, bindAddress, page, openBrowser, print, host: redirectHost, appName: clientName };
}

function printing(listener: ((event: AuthEvent) => void) | undefined): (event: AuthEvent) => void {
  return (event) => {
    const { type, ...details } = event;
    process.stderr.write(`mcp-client-auth ${type} ${JSON.stringify(details)}\n`);
    listener?.(event);
  };
}
