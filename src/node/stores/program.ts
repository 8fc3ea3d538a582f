import { McpAuthError } from "../../errors.ts";
import type { AppNameSpace } from "../../events.ts";
import { basename, dirname, fs, join, sha256 } from "../builtins.ts";
import { isErrno, storeError } from "./error.ts";
import { readText } from "./files.ts";
import { isAppName } from "./name-space.ts";

/**
 * The name space of the running program, when the app gives none:
 *
 * 1. the name of the package that its main script belongs to
 * 2. where no package.json has a name, the folder of the nearest one; without any, the script's folder. The script may be renamed.
 * 3. for a program without a script (single executables, packaged Electron apps) its file name
 *
 * The first of these under which there are logins is used: a package may get its name later.
 *
 * @param isUsed whether there are logins under a name
 * @throws McpAuthError `store_unusable` when a package.json is damaged: any other name would hide the logins
 */
export function programNameSpace(isUsed: (name: string) => boolean): AppNameSpace {
  let first: AppNameSpace | undefined;
  for (const space of nameSpaces()) {
    if (isUsed(space.name)) return space;
    first ??= space;
  }
  return first as AppNameSpace;
}

function* nameSpaces(): Generator<AppNameSpace> {
  const isPackaged = "electron" in process.versions && !("defaultApp" in process);
  const script = isPackaged ? undefined : mainScript();
  if (!script) {
    return yield { name: basename(process.execPath).replace(/\.exe$/i, ""), from: "executable", path: process.execPath };
  }
  let home: string | undefined;
  for (const folder of foldersAbove(script)) {
    const path = join(folder, "package.json");
    const name = packageName(path);
    if (name === undefined) continue;
    home ??= folder;
    if (name === "") continue;
    yield { name, from: "package", path };
    break;
  }
  home ??= dirname(script);
  yield { name: nameOf(home), from: "folder", path: home };
  yield { name: nameOf(script), from: "script", path: script };
}

function mainScript(): string | undefined {
  const [, script] = process.argv;
  try {
    // Package managers install commands as links.
    const path = script && fs.realpathSync(script);
    return path === fs.realpathSync(process.execPath) ? undefined : path;
  } catch {
    return undefined;
  }
}

function* foldersAbove(path: string): Generator<string> {
  for (let folder = dirname(path), below = path; folder !== below; below = folder, folder = dirname(folder)) yield folder;
}

/** The name as a folder can have it; empty where the package has none, `undefined` where there is no package. */
function packageName(path: string): string | undefined {
  const text = textAt(path);
  if (text === undefined) return undefined;
  const { name } = parsed(path, text);
  // With its slash, a scoped name would be two folders.
  const folder = typeof name === "string" ? name.replace("/", "+") : "";
  return isAppName(folder) ? folder : "";
}

/** As Node does, ignores what is not a file or cannot be read by this user. */
function textAt(path: string): string | undefined {
  try {
    return fs.statSync(path).isFile() ? readText(path) : undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP")) return undefined;
    throw storeError(error, path);
  }
}

function parsed(path: string, text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text));
  } catch {
    throw new McpAuthError("store_unusable", {
      detail: `${path} is damaged, so that the app has no name`,
      hint: "Correct the file, or pass `app`.",
    });
  }
}

/** A readable name that is unique for a path. */
function nameOf(path: string): string {
  return `${basename(path)
    .slice(0, 91)
    .replace(/^\W|[^\w.-]/g, "_")}-${sha256(path).slice(0, 8)}`;
}
