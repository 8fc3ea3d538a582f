/**
 * For programs on Node: {@link createMcpAuth}, and what it composes: the login by browser, listener and terminal, and the
 * stores of this machine.
 *
 * @module mcp-client-auth/node
 */

export { createMcpAuth, type McpAuthOptions } from "./create-mcp-auth.ts";
export type { EnvironmentOptions } from "./environment/from-environment.ts";
export { fromEnvironment } from "./environment/on-demand.ts";
export { type OpenBrowserOptions, openBrowser } from "./login/browser.ts";
export { printDeviceCode } from "./login/device-code.ts";
export type { LoopbackLoginOptions } from "./login/loopback/loopback-login.ts";
export type { LoginOutcome, LoginPage } from "./login/loopback/page.ts";
export { loopbackLogin, pasteLogin } from "./login/on-demand.ts";
export type { PasteInput, PasteLoginOptions } from "./login/paste.ts";
export type { McpRemoteImport, McpRemoteImportOptions, McpRemoteImportReason } from "./mcp-remote/import.ts";
export { importFromMcpRemote } from "./mcp-remote/on-demand.ts";
export { type CertificateBytes, type ClientCertificate, type MutualTlsOptions, mutualTls } from "./mutual-tls.ts";
export { type StdioCredential, type StdioServer, type StdioServerOptions, stdioServer } from "./stdio.ts";
export type { Keychain } from "./stores/keychain/calls.ts";
export type { KeychainStoreOptions } from "./stores/keychain/store.ts";
export { keychainStore, sqliteStore } from "./stores/on-demand.ts";
export type { SqliteStoreOptions } from "./stores/sqlite.ts";
