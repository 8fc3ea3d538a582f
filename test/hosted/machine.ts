/** A machine of a web application: a process that shares its store's folder with others. Played by `machines.test.ts`. */
import { HostedLogin } from "../../src/hosted/index.ts";
import { McpAuthError, TokenManager } from "../../src/index.ts";
import { sqliteStore } from "../../src/node/index.ts";

const { STORE = "", REDIRECT_URI = "" } = process.env;
const store = sqliteStore({ folder: STORE, keychain: false });
const logins = new HostedLogin({ store, redirectUri: REDIRECT_URI, clientName: "Acme" });

const methods = {
  async begin(serverUrl: string, account: string) {
    const { url, binding } = await logins.beginAuthorization({ serverUrl, account, returnTo: "/done" });
    return { url: url.href, binding };
  },
  finish: (callback: string, binding: string) => logins.finishAuthorization(callback, { binding }),
  async token(serverUrl: string, account: string) {
    await using auth = new TokenManager({ serverUrl, account, store });
    return auth.getAccessToken();
  },
};

/** What a machine can be asked. */
export type Methods = typeof methods;

process.on("message", async ({ id, method, args }: { id: number; method: keyof Methods; args: string[] }) => {
  try {
    const work = methods[method] as (...args: string[]) => Promise<unknown>;
    process.send?.({ id, value: await work(...args) });
  } catch (error) {
    process.send?.({ id, code: error instanceof McpAuthError ? error.code : String(error) });
  }
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0, value: "ready" });
