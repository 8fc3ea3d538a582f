import { McpAuthError } from "../../../errors.ts";
import type { KeychainOptions } from "../options.ts";
import { BoundedKeychain, type Keychain } from "./calls.ts";
import { isKeychainError } from "./error.ts";

/** Under this name, and the app's, whatever is kept in a keychain is found there. */
export const keychainService = "mcp-client-auth";

/**
 * The keychains of this machine, best first. Another one than the first is asked only for what the first does not have:
 * the libraries do not find each other's entries everywhere.
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
      // Not installed, or not built for this machine.
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
 * What is kept in one of the keychains, and known to be there.
 *
 * @param what completes the error's sentence
 * @param look resolves to `undefined` where it is not
 * @throws McpAuthError `keychain_locked` when none has it or says so; `cause` is what the first of them answered
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
        // Nobody waits for a second one that hangs.
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

/** Both are optional: what cannot be loaded rejects. */
export const libraries = { keytar: once(loadKeytar), "@napi-rs/keyring": once(loadKeyring) };

/** By a name that bundlers do not see. */
const load = (name: string): Promise<unknown> => import(name);

async function loadKeytar(): Promise<Keychain> {
  return ((await load("keytar")) as { default: Keychain }).default;
}

async function loadKeyring(): Promise<Keychain> {
  const { AsyncEntry } = (await load("@napi-rs/keyring")) as Pick<typeof import("@napi-rs/keyring"), "AsyncEntry">;
  // Without a store that is named it falls back to the kernel's keyring, which is lost at the next start of the machine.
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
