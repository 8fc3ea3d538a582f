/**
 * For programs on Node: {@link createMcpAuth}, and what it composes: the login by browser, listener and terminal, and the
 * stores of this machine.
 *
 * @module mcp-client-auth/node
 */

export { type CreateMcpAuth, createMcpAuth, type McpAuthOptions } from "./create-mcp-auth.ts";
export type { EnvironmentOptions } from "./environment/from-environment.ts";
export { type BrowserUrlOptions, checkBrowserUrl, openBrowser } from "./login/browser.ts";
export { printDeviceCode } from "./login/device-code.ts";
export { type InteractivityFacts, interactivity } from "./login/interactive.ts";
export type { ListenerLoginOptions, LoopbackLoginOptions } from "./login/loopback/loopback-login.ts";
export type { LoginOutcome, LoginPage } from "./login/loopback/page.ts";
export type { RedirectOptions } from "./login/loopback/redirect-uris.ts";
export { loopbackLogin, pasteLogin } from "./login/on-demand.ts";
export type { PasteInput, PasteLoginOptions, PasteOutput } from "./login/paste.ts";
export type { McpRemoteLocation } from "./mcp-remote/files.ts";
export type { McpRemoteImport, McpRemoteImportOptions, McpRemoteImportReason } from "./mcp-remote/import.ts";
export { importFromMcpRemote } from "./mcp-remote/on-demand.ts";
export { type CertificateBytes, type ClientCertificate, type MutualTlsOptions, mutualTls } from "./mutual-tls.ts";
export { isEnding, waitUntil } from "./process-end.ts";
export { type StdioCredential, type StdioServer, type StdioServerOptions, stdioServer, type TokenHolder } from "./stdio.ts";
export type { FolderOptions } from "./stores/folder.ts";
export type { KeyOptions } from "./stores/key.ts";
export type { Keychain } from "./stores/keychain/calls.ts";
export type { KeychainOptions } from "./stores/keychain/keychain.ts";
export type { KeychainStoreOptions } from "./stores/keychain/store.ts";
export type { AppOptions } from "./stores/name-space.ts";
export { keychainStore, sqliteStore } from "./stores/on-demand.ts";
export type { SqliteStoreOptions } from "./stores/sqlite.ts";
