import { McpAuthError } from "../../../errors.ts";
import type { KeychainOptions } from "../options.ts";
import { BoundedKeychain, type Keychain } from "./calls.ts";
import { isKeychainError } from "./error.ts";

/** With the app's name, the service under which entries are found in a keychain. */
export const keychainService = "mcp-client-auth";

/**
 * The keychains of this machine, best first. The second one is used only for what the first one does not have: the libraries
 * do not find each other's entries on every platform.
 *
 * @throws McpAuthError `keychain_unavailable` when there is none
 */
export async function* openKeychains({ keychain, keychainTimeout = 2000 }: KeychainOptions): AsyncGenerator<BoundedKeychain> {
  if (keychain === false || /^(off|0|false)$/i.test(process.env.MCP_AUTH_KEYCHAIN ?? "")) {
    throw new McpAuthError("keychain_unavailable", { detail: "it is switched off" });
  }
  if (keychain) return yield new BoundedKeychain(keychain, "the app's keychain", keychainTimeout);
  const failures: unknown[] = [];
  for (const [name, library] of Object.entries(libraries)) {
    try {
      yield new BoundedKeychain(await library(), name, keychainTimeout);
    } catch (error) {
      // Not installed, or not built for this platform.
      failures.push(error);
    }
  }
  if (failures.length < Object.keys(libraries).length) return;
  throw new McpAuthError("keychain_unavailable", {
    detail: "neither `keytar` nor `@napi-rs/keyring` can be loaded",
    cause: new AggregateError(failures),
  });
}

/**
 * Finds what is known to be in one of the keychains.
 *
 * @param what completes the message of the error
 * @param look resolves to `undefined` when the keychain does not have it
 * @throws McpAuthError `keychain_locked` when no keychain has it; `cause` is the error of the first one
 */
export async function findInKeychains<T>(
  options: KeychainOptions,
  what: string,
  look: (keychain: BoundedKeychain) => Promise<T | undefined>,
): Promise<T> {
  let cause: unknown;
  try {
    for await (const keychain of openKeychains(options)) {
      try {
        const found = await look(keychain);
        if (found !== undefined) return found;
      } catch (error) {
        // The second one is not tried: it would probably hang, too.
        if (!isKeychainError(error) || error.code === "keychain_timeout") throw error;
        cause ??= error;
      }
    }
  } catch (error) {
    if (!isKeychainError(error)) throw error;
    cause ??= error;
  }
  throw new McpAuthError("keychain_locked", { detail: what, cause });
}

/** Both are optional. Each rejects when it cannot be loaded. */
export const libraries = { keytar: once(loadKeytar), "@napi-rs/keyring": once(loadKeyring) };

/** Imports by a variable, which bundlers ignore. */
const load = (name: string): Promise<unknown> => import(name);

async function loadKeytar(): Promise<Keychain> {
  return ((await load("keytar")) as { default: Keychain }).default;
}

async function loadKeyring(): Promise<Keychain> {
  const { AsyncEntry } = (await load("@napi-rs/keyring")) as Pick<typeof import("@napi-rs/keyring"), "AsyncEntry">;
  // Without a named store it falls back to the kernel's keyring, which is lost when the machine restarts.
  if (process.platform === "linux" && !refuses(() => new AsyncEntry("a", "b", { linux: { store: "none" as "secret-service" } }))) {
    throw new Error("@napi-rs/keyring is too old: it cannot name its store");
  }
  const entry = (service: string, account: string) => new AsyncEntry(service, account, { linux: { store: "secret-service" } });
  return {
    getPassword: async (service, account) => entry(service, account).getPassword(),
    setPassword: async (service, account, password) => {
      await entry(service, account).setPassword(password);
    },
    deletePassword: async (service, account) => entry(service, account).deletePassword(),
  };
}

function refuses(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= work();
    return result;
  };
}
