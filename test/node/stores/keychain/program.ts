/** What the keychain tests do in processes of their own. Prints one JSON value. */
import { registerHooks } from "node:module";
import { join } from "node:path";
import { McpAuthError } from "../../../../src/errors.ts";
import { openKey } from "../../../../src/node/stores/key.ts";
import type { Keychain } from "../../../../src/node/stores/keychain/calls.ts";
import { libraries } from "../../../../src/node/stores/keychain/keychain.ts";
import { KeychainStore } from "../../../../src/node/stores/keychain/store.ts";
import { FileLocks } from "../../../../src/node/stores/lock.ts";
import type { KeychainStoreOptions } from "../../../../src/node/stores/options.ts";
import { SqliteStore } from "../../../../src/node/stores/sqlite.ts";
import { below, contract } from "../../../stores/store-contract.ts";

/** What the program shall do. `without` are libraries that are not installed there. */
export type Command = { folder: string; library?: keyof typeof libraries; without?: string[]; keychainTimeout?: number } & (
  | { what: "key"; killAt?: number }
  | { what: "hang" }
  | { what: "sqlite"; set?: string }
  | { what: "store"; set?: string; fallback?: "error" | "key-file" }
  | { what: "contract"; prefix: string }
  | { what: "increments"; times: number }
  | { what: "write"; key: string; size: number }
);

const command = JSON.parse(process.argv[2] ?? "") as Command;
const { folder, library, without = [], keychainTimeout } = command;
registerHooks({
  resolve(specifier, context, next) {
    if (without.includes(specifier)) throw new Error(`${specifier} is not installed`);
    return next(specifier, context);
  },
});
const keychain = library && (await libraries[library]());
const options: KeychainStoreOptions = { app: "acme", folder, keychain, keychainTimeout };

/** Kills this process before the call with that number. */
function mortal(inner: Keychain, killAt: number): Keychain {
  let calls = 0;
  const counted = <A extends unknown[], T>(call: (...args: A) => Promise<T>) => {
    return async (...args: A) => {
      if (++calls === killAt) process.kill(process.pid, "SIGKILL");
      return call(...args);
    };
  };
  return {
    getPassword: counted(inner.getPassword),
    setPassword: counted(inner.setPassword),
    deletePassword: counted(inner.deletePassword),
  };
}

async function result(): Promise<unknown> {
  switch (command.what) {
    case "key": {
      const app = join(folder, "acme");
      const used = command.killAt === undefined ? keychain : mortal(await libraries.keytar(), command.killAt);
      const { kid, place } = await openKey({ folder: app, locks: new FileLocks(join(app, "locks")), keychain: used, keychainTimeout });
      return { kid, place };
    }
    case "hang": {
      const app = join(folder, "acme");
      const never: Keychain = {
        getPassword: () => new Promise(() => {}),
        setPassword: () => new Promise(() => {}),
        deletePassword: async () => false,
      };
      const { place } = await openKey({ folder: app, locks: new FileLocks(join(app, "locks")), keychain: never, keychainTimeout });
      return { place };
    }
    case "sqlite":
    case "store": {
      const store = command.what === "sqlite" ? new SqliteStore(options) : new KeychainStore({ ...options, fallback: command.fallback });
      if (command.set) await store.set("k", { v: 1, text: command.set });
      return { text: (await store.get("k"))?.text, status: await store.status?.() };
    }
    case "contract": {
      // Who waits for a lock that this process holds keeps no process alive.
      const alive = setInterval(() => {}, 60_000);
      try {
        for (const [i, [, check]] of contract.entries()) {
          const open = async () => below(new KeychainStore(options), `${command.prefix}/${i}/`);
          await check(await open(), open);
        }
      } finally {
        clearInterval(alive);
      }
      return contract.length;
    }
    case "increments": {
      const store = new KeychainStore(options);
      for (let i = 0; i < command.times; i++) {
        await store.withLock("counter", async (held) => {
          const n = (await store.get("counter"))?.n;
          await held.set("counter", { v: 1, n: (typeof n === "number" ? n : 0) + 1 });
        });
      }
      return command.times;
    }
    case "write": {
      const store = new KeychainStore({ ...options, partSize: 1280 });
      console.log("writes");
      for (let i = 0; ; i++) await store.set(command.key, { v: 1, text: String.fromCharCode(97 + (i % 26)).repeat(command.size) });
    }
  }
}

const found = await result().catch((error: unknown) => {
  if (!(error instanceof McpAuthError)) throw error;
  const { code, message, hint, cause } = error;
  return { code, message, hint, cause: cause instanceof McpAuthError ? cause.code : undefined };
});
console.log(JSON.stringify(found));
