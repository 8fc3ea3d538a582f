import { McpAuthError, unless } from "../errors.ts";
import type { HeldLock, LockOptions, Store } from "../stores/store.ts";

/** What is gone for good when it cannot be read: logins, and those that a user is about to make. */
const irreplaceable = ["tokens/", "pending/"];

/**
 * The same store, whose own failures are typed errors. What cannot be read is none, unless it is a login: all else can be had
 * again.
 *
 * @param serverUrl the protected server, where all is about one
 */
export function namingFailures(store: Store, serverUrl?: string): Store {
  const named = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (cause) {
      throw cause instanceof McpAuthError ? cause : new McpAuthError("store_failed", { serverUrl, cause });
    }
  };
  const status = store.status?.bind(store);
  return {
    get(key) {
      const reading = named(store.get(key));
      return irreplaceable.some((prefix) => key.startsWith(prefix)) ? reading : unless("invalid_record", reading);
    },
    set: (key, value) => named(store.set(key, value)),
    delete: (key) => named(store.delete(key)),
    take: (key) => named(store.take(key)),
    keys: (prefix) => named(store.keys(prefix)),
    ...(status && { status: () => named(status()) }),
    async withLock<T>(key: string, action: (held: HeldLock) => Promise<T>, options?: LockOptions) {
      let outcome: Promise<T> | undefined;
      const holding = store.withLock(
        key,
        async (held) => {
          outcome = action({
            signal: held.signal,
            get restarted() {
              return held.restarted;
            },
            check: () => held.check?.(),
            set: (name, value) => named(held.set(name, value)),
            delete: (name) => named(held.delete(name)),
          });
          // What the action throws is not the store's failure.
          await outcome.catch(() => {});
        },
        options,
      );
      await named(holding);
      return outcome as Promise<T>;
    },
  };
}
