import { basename, dirname, fs, join } from "../builtins.ts";
import { type AppFolder, appFolder } from "./folder.ts";
import { OpenFolder } from "./open-folder.ts";
import type { KeyOptions, SqliteStoreOptions } from "./options.ts";
import { SqliteStore } from "./sqlite.ts";

/** Folders that stores of this process use, as long as any does. */
const folders = new Map<string, WeakRef<OpenFolder>>();
const unused = new FinalizationRegistry<string>((name) => {
  if (!folders.get(name)?.deref()) folders.delete(name);
});

const keychains = new WeakMap<object, number>();
let keychainCount = 0;

/** A store that shares its folder with all that are opened so in this process, unless they keep keys otherwise. */
export function sharedStore(options: SqliteStoreOptions, place: AppFolder = placeOf(options)): SqliteStore {
  const name = JSON.stringify([canonical(place.path), keychainOf(options), options.keychainTimeout, options.keychainFailure]);
  let folder = folders.get(name)?.deref();
  if (!folder) {
    folder = new OpenFolder(options, place);
    folders.set(name, new WeakRef(folder));
    unused.register(folder, name);
  }
  return new SqliteStore(options, folder);
}

let lastPlace: { readonly of: string; readonly place: AppFolder } | undefined;

/** Finding the program's name reads files: most stores of a process have the same. */
function placeOf(options: SqliteStoreOptions): AppFolder {
  const { MCP_AUTH_DATA_DIR, XDG_DATA_HOME, LOCALAPPDATA, HOME } = process.env;
  const { app, folder } = options;
  const of = JSON.stringify([app, folder, process.argv[1], MCP_AUTH_DATA_DIR, XDG_DATA_HOME, LOCALAPPDATA, HOME]);
  if (lastPlace?.of !== of) lastPlace = { of, place: appFolder(options) };
  return lastPlace.place;
}

function keychainOf({ keychain }: KeyOptions): number | boolean {
  if (!keychain) return keychain !== false;
  const known = keychains.get(keychain);
  if (known) return known;
  keychains.set(keychain, ++keychainCount);
  return keychainCount;
}

/** The same for all paths to a folder, whether it is there or not. The last name is never a link: the folder would be refused. */
function canonical(path: string): string {
  const above = dirname(path);
  return above === path ? path : join(real(above), basename(path));
}

function real(path: string): string {
  try {
    return fs.realpathSync.native(path);
  } catch {
    return canonical(path);
  }
}
