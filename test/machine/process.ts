/** A program as a job in CI runs it; see `child.ts`. */
import { createInterface } from "node:readline";
import { McpAuthError, type Store, systemClock } from "../../src/index.ts";
import { fromEnvironment, sqliteStore } from "../../src/node/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";
import type { Order } from "./child.ts";

let aheadMs = 0;
const auth = await fromEnvironment({
  clock: { ...systemClock, now: () => Date.now() + aheadMs },
  // The same as the default, but heard of.
  ...(process.env.TELL_LOCKS && { store: telling(sqliteStore()) }),
});

function telling(store: Store): Store {
  return {
    ...store,
    withLock(key, action, options) {
      console.log("waiting");
      return store.withLock(key, action, options);
    },
  };
}

async function work(order: Order): Promise<string> {
  aheadMs = order.aheadMs ?? aheadMs;
  const response = await auth.fetch(auth.serverUrl, toolRequest("whoami"));
  await response.arrayBuffer();
  return String(response.status);
}

console.log("ready");
for await (const line of createInterface(process.stdin)) {
  const answer = await work(JSON.parse(line) as Order).catch((error: unknown) =>
    error instanceof McpAuthError ? error.code : String(error),
  );
  console.log(answer);
}
await auth.dispose();
