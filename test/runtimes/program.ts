/**
 * A user's life and a program's, with the neutral entries alone: nothing of Node. It runs in every runtime, and reports what it saw.
 *
 * Whoever runs it starts the servers, plays the user, and counts: see `stage.ts`.
 */
import {
  type AuditRecord,
  auditTrail,
  type Clock,
  type LoginHandler,
  McpAuthError,
  MemoryStore,
  systemClock,
  TokenManager,
} from "mcp-client-auth";
import { HostedLogin } from "mcp-client-auth/hosted";
import { MachineTokenManager } from "mcp-client-auth/machine";
import { toolRequest } from "../fixture/tool-request.ts";
import type { Report, Setting, StepName } from "./report.ts";

const minutes = (count: number) => count * 60_000;

export async function run(setting: Setting): Promise<Report> {
  const ask = async (what: string, body = "") => (await fetch(`${setting.control}/${what}`, { method: "POST", body })).text();
  const { clock, shift } = shiftedClock();
  const records: AuditRecord[] = [];
  const auth = new TokenManager({
    serverUrl: setting.serverUrl,
    account: "ann",
    clientName: "Runtime",
    store: new MemoryStore(),
    clock,
    loginHandler: userBehind((url) => ask("person", url.href)),
    onEvent: auditTrail({ account: "ann", write: (_line, record) => records.push(record) }),
  });
  const call = async (tool = "whoami", args = {}) => (await auth.fetch(auth.serverUrl, toolRequest(tool, args))).status;

  const steps: Readonly<Record<StepName, () => Promise<unknown>>> = {
    async "discovery, registration, login"() {
      return [await auth.authorize(), await call()];
    },
    async "refresh at expiry"() {
      const before = await auth.getAccessToken();
      shift(minutes(61));
      return [(await auth.getAccessToken()) !== before, await call()];
    },
    async "50 refused calls at once"() {
      await ask("revoke");
      return tally(await Promise.all(Array.from({ length: 50 }, () => call())));
    },
    async "step-up"() {
      return [await call("write_note", { text: "hello" }), await call()];
    },
    async logout() {
      const { wasLoggedIn, refreshTokenRevoked } = await auth.logout();
      await auth.dispose();
      return { wasLoggedIn, refreshTokenRevoked };
    },
    async "audit trail"() {
      return records.map(({ account, action, outcome }) => `${account}: ${action} ${outcome}`);
    },
    async "a program's client credentials"() {
      const program = new MachineTokenManager({ serverUrl: setting.serverUrl, ...setting.client, clock });
      const send = async () => (await program.fetch(program.serverUrl, toolRequest("whoami"))).status;
      const seen = tally(await Promise.all(Array.from({ length: 50 }, send)));
      await program.dispose();
      return seen;
    },
    async "a hosted login, begun on one machine, finished on another"() {
      const [store, redirectUri] = [new MemoryStore(), "http://127.0.0.1:1/callback"];
      const machine = () => new HostedLogin({ store, redirectUri, clientName: "Runtime", clock });
      const { serverUrl } = setting;
      const { url, binding } = await machine().beginAuthorization({ serverUrl, account: "ben", returnTo: "/tools" });
      const callback = redirectUri + (await ask("person", url.href));
      const { account, returnTo } = await machine().finishAuthorization(callback, { binding });
      const again = await machine().finishAuthorization(callback, { binding }).then(String, codeOf);
      const ben = new TokenManager({ serverUrl, account, store, clock });
      const { status } = await ben.fetch(ben.serverUrl, toolRequest("whoami"));
      await ben.dispose();
      return { account, returnTo, status, again };
    },
    // A further flow is a step here, in `report.ts`, and in the table of `runtimes.test.ts`.
  };

  const report: Report = { userAgent: navigator.userAgent, steps: {} };
  for (const [name, work] of Object.entries(steps)) {
    const saw = await work().catch((error: Error) => `${error}\n${error.stack}`);
    report.steps[name as StepName] = { saw, requests: JSON.parse(await ask("requests")) };
  }
  return report;
}

const codeOf = (error: unknown) => (error instanceof McpAuthError ? error.code : String(error));

function tally(statuses: readonly number[]): Record<string, number> {
  return Object.fromEntries(Object.entries(Object.groupBy(statuses, String)).map(([status, them = []]) => [status, them.length]));
}

/** The machine's clock, which can be put forward. */
function shiftedClock(): { clock: Clock; shift(ms: number): void } {
  let shifted = 0;
  return {
    clock: { now: () => systemClock.now() + shifted, sleep: systemClock.sleep },
    shift(ms) {
      shifted += ms;
    },
  };
}

/** The user is somewhere else: `send` gives the query of the callback. */
function userBehind(send: (url: URL) => Promise<string>): LoginHandler {
  const redirectUri = "http://127.0.0.1:1/callback";
  return {
    start: async () => ({
      redirectUri,
      redirectUris: [redirectUri],
      authorize: async (url, receive) => receive(new URLSearchParams(await send(url))),
      close: async () => {},
    }),
  };
}
