/** A program in which something fails, and that then has nothing left to do; played by `exit.test.ts`. */

import { systemClock } from "../../src/clock.ts";
import { McpAuthError } from "../../src/errors.ts";
import { createMcpAuth, type McpAuthOptions } from "../../src/node/index.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { person } from "../fixture/person.ts";

const [scenario = "", url = ""] = process.argv.slice(2);
const interactive: McpAuthOptions = { interactive: true, print: () => {}, openBrowser: async (address) => void person(address) };
const silent: McpAuthOptions = { ...interactive, openBrowser: async () => {} };
const call = (auth: ReturnType<typeof createMcpAuth>) => auth.fetch(url, { method: "POST", body: "{}" });

/** Time that can be put forward. */
let ahead = 0;
const clock = { ...systemClock, now: () => Date.now() + ahead };

/** A disk that is full from the first write of tokens on. */
class FullStore extends MemoryStore {
  override async set(key: string, value: { v: number }): Promise<void> {
    if (key.startsWith("tokens/")) throw new Error("ENOSPC: no space left on device");
    await super.set(key, value);
  }
}

const scenarios: Record<string, () => Promise<unknown>> = {
  "no user": () => createMcpAuth(url, { interactive: false }).authorize(),
  "a login without an answer": () => createMcpAuth(url, { ...silent, loginTimeout: 100 }).authorize(),
  "a device code that nobody enters": () =>
    createMcpAuth(url, { interactive: true, onDeviceCode: () => {}, loginTimeout: 100 }).authorize(),
  "a device code that no request has waited for": async () => {
    const auth = createMcpAuth(url, { interactive: true, onDeviceCode: () => {}, loginPendingTimeout: 100 });
    await call(auth).finally(() => auth.dispose());
  },
  "a login that a request has not waited for": async () => {
    const auth = createMcpAuth(url, { ...silent, loginPendingTimeout: 100 });
    await call(auth).finally(() => auth.dispose());
  },
  "a login whose caller gave up": async () => {
    const auth = createMcpAuth(url, silent);
    await auth.authorize({ signal: AbortSignal.timeout(300) }).catch(() => {});
    await auth.dispose();
  },
  "a login that ends otherwise": () => createMcpAuth(url, interactive).authorize(),
  "a refresh that fails": async () => {
    const auth = createMcpAuth(url, { ...interactive, clock });
    await auth.authorize();
    ahead = 3600_000;
    await auth.getAccessToken();
  },
  "tokens that are kept fresh": async () => {
    const auth = createMcpAuth(url, { ...interactive, keepFresh: true });
    await auth.authorize();
    if (!auth.requestInit().headers.authorization) throw new Error("no token");
  },
  "tokens that cannot be stored": async () => {
    const auth = createMcpAuth(url, { ...interactive, store: new FullStore() });
    await auth.authorize();
    if ((await call(auth)).status === 401) throw new Error("the token was not used");
  },
};

const result = await scenarios[scenario]?.().then(
  () => "ok",
  (error: unknown) => (error instanceof McpAuthError ? error.code : error),
);
process.stdout.write(`${JSON.stringify(result)}\n`);
