/**
 * For programs on Node: {@link createMcpAuth}, and what it composes: the login by browser, listener and terminal, and the
 * stores of this machine.
 *
 * @module mcp-client-auth/node
 */

export { createMcpAuth, createMcpAuths, type McpAuthOptions, type McpAuthsOptions } from "./create-mcp-auth.ts";
export { fromEnvironment } from "./environment/on-demand.ts";
export type { EnvironmentOptions } from "./environment/options.ts";
export { type OpenBrowserOptions, openBrowser } from "./login/browser.ts";
export { printDeviceCode } from "./login/device-code.ts";
export type { LoginOutcome, LoginPage } from "./login/loopback/page.ts";
export { loopbackLogin, pasteLogin } from "./login/on-demand.ts";
export type { LoopbackLoginOptions, PasteInput, PasteLoginOptions } from "./login/options.ts";
export type { McpRemoteImport, McpRemoteImportReason } from "./mcp-remote/import.ts";
export { importFromMcpRemote } from "./mcp-remote/on-demand.ts";
export type { McpRemoteImportOptions } from "./mcp-remote/options.ts";
export { type CertificateBytes, type ClientCertificate, type MutualTlsOptions, mutualTls } from "./mutual-tls.ts";
export { type StdioCredential, type StdioServer, type StdioServerOptions, stdioServer } from "./stdio.ts";
export type { Keychain } from "./stores/keychain/calls.ts";
export { keychainStore, sqliteStore } from "./stores/on-demand.ts";
export type { KeychainStoreOptions, SqliteStoreOptions } from "./stores/options.ts";
