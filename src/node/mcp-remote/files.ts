import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { presentable } from "../../grants/token-request.ts";
import { members, strings, text } from "../../http/json.ts";
import type { McpRemoteLocation } from "./options.ts";

/** Tokens as mcp-remote keeps them. Times in ms since 1970. */
export interface McpRemoteTokens {
  accessToken: string | undefined;
  refreshToken: string | undefined;
  idToken: string | undefined;
  scope: string | undefined;
  requestedScope: string | undefined;
  /** The authorization server that gave them; newer versions note it, though not after every refresh. */
  issuer: string | undefined;
  issuedAt: number;
  expiresAt: number | undefined;
}

/** A dynamic registration as mcp-remote keeps it. Times in ms since 1970. */
export interface McpRemoteClient {
  clientId: string;
  clientSecret: string | undefined;
  clientSecretExpiresAt: number | undefined;
  tokenEndpointAuthMethod: string | undefined;
  redirectUris: string[] | undefined;
  issuer: string | undefined;
  createdAt: number;
}

/** What one folder holds about one server. */
export interface McpRemoteLogin {
  tokens?: McpRemoteTokens | undefined;
  client?: McpRemoteClient | undefined;
  /** Paths of what was read. */
  files: string[];
}

interface JsonFile {
  path: string;
  json: Readonly<Record<string, unknown>>;
  modifiedAt: number;
}

/** Far above any login, far below what memory minds. */
const maxBytes = 1024 * 1024;
const missing = new Set(["ENOENT", "ENOTDIR"]);

/**
 * What mcp-remote's folder holds about a server, the newest version's first. Nothing is written there. A file that cannot
 * be used is a line in `problems` and leaves the others usable. Never throws.
 */
export async function readMcpRemote(
  serverUrl: string | URL,
  location: McpRemoteLocation,
): Promise<{ logins: McpRemoteLogin[]; problems: string[] }> {
  const base = location.folder ?? (process.env.MCP_REMOTE_CONFIG_DIR || join(homedir(), ".mcp-auth"));
  const problems: string[] = [];
  const logins: McpRemoteLogin[] = [];
  const versions = await readdir(base).catch((error: NodeJS.ErrnoException) => {
    if (!missing.has(error.code ?? "")) problems.push(`${base}: ${error.code}`);
    return [];
  });
  // mcp-remote-v1, then mcp-remote-0.1.38, mcp-remote-0.1.9.
  const folders = versions.filter((name) => name.startsWith("mcp-remote-")).sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  for (const folder of folders) {
    for (const name of names(serverUrl, location)) logins.push(await readLogin(join(base, folder, name), problems));
  }
  return { logins: logins.filter(({ tokens, client }) => tokens ?? client), problems };
}

/** What its files are called: it takes the server's URL as it was typed. */
function names(serverUrl: string | URL, location: McpRemoteLocation): Set<string> {
  const { resource, authorizationParameters, headers, clientMetadataUrl } = location;
  const { href } = new URL(serverUrl);
  const others = [resource, sortedJson(authorizationParameters), sortedJson(headers), clientMetadataUrl].filter(Boolean);
  const urls = [String(serverUrl), href, href.replace(/^([^/]+\/\/[^/]+)\/$/, "$1")];
  return new Set(
    urls.map((url) =>
      createHash("md5")
        .update([url, ...others].join("|"))
        .digest("hex"),
    ),
  );
}

function sortedJson(values: Readonly<Record<string, string>> = {}): string | undefined {
  const keys = Object.keys(values).sort();
  return keys.length > 0 ? JSON.stringify(values, keys) : undefined;
}

async function readLogin(path: string, problems: string[]): Promise<McpRemoteLogin> {
  const login: McpRemoteLogin = { files: [] };
  const read = async <T>(file: string, parse: (found: JsonFile) => T | undefined): Promise<T | undefined> => {
    const found = await readJson(file).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    const parsed = typeof found === "object" ? parse(found) : undefined;
    if (parsed) login.files.push(file);
    else if (!missing.has(String(found))) problems.push(`${file}: ${typeof found === "object" ? "it is damaged" : found}`);
    return parsed;
  };
  login.tokens = await read(`${path}_tokens.json`, tokensOf);
  login.client = await read(`${path}_client_info.json`, clientOf);
  return login;
}

/** @throws Error that says why the file is not used */
async function readJson(path: string): Promise<JsonFile> {
  // A pipe in its place must not make anybody wait.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const { mtimeMs } = await checkedStats(file);
    return { path, json: members(await file.readFile("utf8")), modifiedAt: mtimeMs };
  } finally {
    await file.close();
  }
}

/** What somebody else could have written may be somebody else's login. Links are followed: what counts is where they end. */
async function checkedStats(file: FileHandle) {
  const stats = await file.stat();
  const isForeign = process.getuid && stats.uid !== process.getuid();
  if (!stats.isFile() || stats.size > maxBytes) throw new Error("it is not a file of mcp-remote");
  if (isForeign) throw new Error("it belongs to another user");
  if (process.getuid && stats.mode & 0o002) throw new Error("everybody may write it");
  return stats;
}

function tokensOf({ json, modifiedAt }: JsonFile): McpRemoteTokens | undefined {
  const accessToken = presentable(json.access_token);
  const refreshToken = text(json.refresh_token);
  if (!accessToken && !refreshToken) return undefined;
  const lifetimeMs = positive(json.expires_in, 1000);
  // The file is as old as its tokens: older versions note nothing else.
  const expiresAt = positive(json.expires_at) ?? (lifetimeMs && modifiedAt + lifetimeMs);
  return {
    accessToken,
    refreshToken,
    idToken: presentable(json.id_token),
    scope: text(json.scope),
    requestedScope: text(json.requested_scope),
    issuer: text(json.issuer),
    issuedAt: expiresAt && lifetimeMs ? expiresAt - lifetimeMs : Math.min(modifiedAt, expiresAt ?? modifiedAt),
    expiresAt,
  };
}

function clientOf({ json, modifiedAt }: JsonFile): McpRemoteClient | undefined {
  const clientId = text(json.client_id);
  if (!clientId) return undefined;
  return {
    clientId,
    clientSecret: text(json.client_secret),
    // 0 means never (RFC 7591 §3.2.1).
    clientSecretExpiresAt: positive(json.client_secret_expires_at, 1000),
    tokenEndpointAuthMethod: text(json.token_endpoint_auth_method),
    redirectUris: strings(json.redirect_uris),
    issuer: text(json.issuer),
    createdAt: positive(json.client_id_issued_at, 1000) ?? modifiedAt,
  };
}

function positive(value: unknown, factor = 1): number | undefined {
  const number = Number(value) * factor;
  return number > 0 && Number.isFinite(number) ? number : undefined;
}
