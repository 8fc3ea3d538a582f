import type { Stats } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { McpAuthError } from "../../errors.ts";
import { fs, sha256 } from "../builtins.ts";
import { type AppOptions, checkApp } from "./name-space.ts";

/** Where an app keeps its logins. */
export interface FolderOptions extends AppOptions {
  /** Folder of all apps. Default: `MCP_AUTH_DATA_DIR`, else the platform's folder for data of this user. */
  folder?: string | undefined;
}

/**
 * The folder of an app. Nothing is created yet.
 *
 * @throws McpAuthError `invalid_option`
 */
export function appFolder({ app = programName(), folder = dataFolder() }: FolderOptions): string {
  checkApp({ app });
  if (!isAbsolute(folder)) throw new McpAuthError("invalid_option", { detail: "the folder of the stores must be an absolute path" });
  return join(folder, app);
}

function dataFolder(): string {
  const { MCP_AUTH_DATA_DIR, XDG_DATA_HOME, LOCALAPPDATA } = process.env;
  if (MCP_AUTH_DATA_DIR) return MCP_AUTH_DATA_DIR;
  return join(platformFolder(XDG_DATA_HOME, LOCALAPPDATA), "mcp-client-auth");
}

function platformFolder(xdg: string | undefined, local: string | undefined): string {
  if (process.platform === "win32") return local ?? join(homedir(), "AppData", "Local");
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support");
  // A relative path counts as unset (XDG Base Directory Specification).
  return xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".local", "share");
}

/**
 * What the running program is called: the package that its main script belongs to. A script of no package is told apart by
 * its path; a program without script (single executables, packaged Electron apps) by its file name.
 */
function programName(): string {
  const program = basename(process.execPath).replace(/\.exe$/i, "");
  const isPackaged = "electron" in process.versions && !("defaultApp" in process);
  const script = isPackaged ? undefined : mainScript();
  if (!script) return program;
  for (let path = dirname(script), below = script; path !== below; below = path, path = dirname(path)) {
    const name = packageName(join(path, "package.json"));
    // A slash would make two folders of a scoped name.
    if (name) return name.replace("/", "+");
  }
  return `${basename(script).replace(/^\W|[^\w.-]/g, "_")}-${sha256(script).slice(0, 8)}`;
}

function mainScript(): string | undefined {
  const [, script] = process.argv;
  try {
    // Commands that package managers install are links.
    const path = script && fs.realpathSync(script);
    return path === fs.realpathSync(process.execPath) ? undefined : path;
  } catch {
    return undefined;
  }
}

function packageName(path: string): string | undefined {
  try {
    const { name } = JSON.parse(fs.readFileSync(path, "utf8")) as { name?: unknown };
    return typeof name === "string" && name !== "" ? name : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Creates a folder that only this user can enter, or mends one that others could.
 *
 * @throws McpAuthError `store_failed` when it is a link or belongs to somebody else; what the file system throws.
 */
export function secureFolder(path: string): void {
  fs.mkdirSync(path, { recursive: true, mode: 0o700 });
  const found = fs.lstatSync(path);
  if (!found.isDirectory()) throw refusal(path, "is not a folder of its own");
  mend(path, found, 0o700);
}

/**
 * Creates an empty file that only this user can read, or mends one that others could.
 *
 * @returns its inode, which tells it from another one that takes its place later
 * @throws McpAuthError `store_failed` when it is a link or belongs to somebody else; what the file system throws.
 */
export function secureFile(path: string): number {
  const found = fileAt(path) ?? createFile(path);
  if (!found.isFile()) throw refusal(path, "is not a file of its own");
  mend(path, found, 0o600);
  return found.ino;
}

/** What is at this path; links are not followed. */
export function fileAt(path: string): Stats | undefined {
  return fs.lstatSync(path, { throwIfNoEntry: false });
}

function createFile(path: string): Stats {
  try {
    // Never truncates: of two processes that create it at once the second finds it.
    fs.closeSync(fs.openSync(path, "wx", 0o600));
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
  return fs.lstatSync(path);
}

/** By path: opening a file that is locked would free its lock (POSIX). */
function mend(path: string, { mode, uid }: Stats, wanted: number): void {
  if (process.platform === "win32") return;
  if (uid !== process.geteuid?.()) throw refusal(path, "belongs to another user");
  if ((mode & 0o077) !== 0) fs.chmodSync(path, wanted);
}

function refusal(path: string, what: string): McpAuthError {
  return new McpAuthError("store_failed", { detail: `${path} ${what}` });
}

/**
 * Writes a new file, so that after a crash at any moment it is there completely or not at all.
 *
 * @returns `false` when there is one already; it is left as it is
 */
export function writeNewFile(path: string, text: string): boolean {
  const temporary = `${path}.${crypto.randomUUID()}`;
  const file = fs.openSync(temporary, "wx", 0o600);
  try {
    fs.writeFileSync(file, text);
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
  try {
    fs.linkSync(temporary, path);
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}

/** A name in a folder is durable when the folder is. Windows cannot, and need not, do that. */
function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = fs.openSync(path, "r");
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && Reflect.get(error, "code") === code;
}

/** Whether the file that was opened is still the one at its path. `stat` by path leaves locks alone. */
export function isStillAt(path: string, inode: number): boolean {
  return fs.statSync(path, { throwIfNoEntry: false })?.ino === inode;
}
