import type { HeldLock, Store } from "../../../src/index.ts";

/** Takes a lock, and holds it until `release`. */
export async function hold(store: Store, key: string) {
  const entered = Promise.withResolvers<HeldLock>();
  const released = Promise.withResolvers<void>();
  const ended = store.withLock(key, (held) => {
    entered.resolve(held);
    return released.promise;
  });
  ended.catch(entered.reject);
  const held = await entered.promise;
  const release = () => {
    released.resolve();
    return ended;
  };
  return { held, release };
}
