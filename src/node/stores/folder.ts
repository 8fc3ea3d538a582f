import { McpAuthError } from "../../errors.ts";
import type { AppNameSpace } from "../../events.ts";
import { fs, homedir, isAbsolute, join } from "../builtins.ts";
import { sqlite } from "./database.ts";
import type { FolderOptions } from "./options.ts";
import { programNameSpace } from "./program.ts";

/** The folder of one app. */
export interface AppFolder {
  readonly path: string;
  readonly app: AppNameSpace;
}

/**
 * The folder of an app. Nothing is created yet.
 *
 * @throws McpAuthError `unsupported_runtime`; `invalid_option` for a relative `MCP_AUTH_DATA_DIR`; `store_unusable` where the program's package.json is damaged
 */
export function appFolder({ app, folder: given }: FolderOptions): AppFolder {
  // First: a Node without it may lack what the rest needs, too.
  sqlite();
  const folder = given ?? dataFolder();
  const space: AppNameSpace =
    app === undefined ? programNameSpace((name) => fs.existsSync(join(folder, name))) : { name: app, from: "option" };
  return { path: join(folder, space.name), app: space };
}

function dataFolder(): string {
  const { MCP_AUTH_DATA_DIR, XDG_DATA_HOME, LOCALAPPDATA } = process.env;
  if (MCP_AUTH_DATA_DIR && !isAbsolute(MCP_AUTH_DATA_DIR)) {
    throw new McpAuthError("invalid_option", { detail: "`MCP_AUTH_DATA_DIR` must be an absolute path" });
  }
  if (MCP_AUTH_DATA_DIR) return MCP_AUTH_DATA_DIR;
  return join(platformFolder(XDG_DATA_HOME, LOCALAPPDATA), "mcp-client-auth");
}

function platformFolder(xdg: string | undefined, local: string | undefined): string {
  if (process.platform === "win32") return local ?? join(homedir(), "AppData", "Local");
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support");
  // A relative path counts as unset (XDG Base Directory Specification).
  return xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".local", "share");
}
