/** What must be true after a process was killed. */
import { globSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { McpAuthError, type Store, systemClock, TokenManager } from "../../src/index.ts";
import type { ProtectedServer } from "../fixture/index.ts";
import type { Child } from "../processes/child.ts";
import { textOf } from "../processes/text.ts";
import type { Kind } from "./chaos.ts";

/** A run in which the survivors have done their work. */
export interface Finished {
  server: ProtectedServer;
  /** A handle of its own on what they leave behind, as the next process has it. */
  store: () => Store;
  children: readonly Child[];
  victim: Child | undefined;
  /** Of each process; `undefined` when they did not finish. */
  outcomes: readonly unknown[] | undefined;
  isStrict: boolean;
  isSqlite: boolean;
  folder: string;
}

/** A free lock is taken at once; a busy machine may need a moment. In ms. */
const atOnceMs = 2000;

/** Everybody else finished, and the login is lost only if its last refresh token was. */
export function checkWork(kind: Kind, { children, victim, outcomes }: Finished): string[] {
  if (!outcomes) return ["a survivor hangs"];
  const survivors = children.map((child, i) => ({ child, outcome: outcomes[i] })).filter(({ child }) => child !== victim);
  // Whether a call may fail is up to the login.
  const failed = survivors.filter(({ outcome }) =>
    kind === "write" || kind === "lock" ? outcome !== undefined : !/^\{"(200|login_required)":3\}$/.test(JSON.stringify(outcome)),
  );
  return failed.map(({ outcome }) => `a survivor ended with ${JSON.stringify(outcome)}`);
}

/** The store opens, each lock can be taken at once, each record can be read and holds what was written last. */
export async function checkStore(finished: Finished): Promise<string[]> {
  const { store, children, server, folder, isSqlite } = finished;
  const found: string[] = [];
  const check = async (what: string, work: () => Promise<unknown>) => {
    await work().catch((error: unknown) => found.push(`${what}: ${error instanceof Error ? error.message : String(error)}`));
  };
  const opened = store();
  let keys: string[] = [];
  await check("the store does not open", async () => {
    keys = await opened.keys("");
  });
  for (const key of keys) await check(`${key} cannot be read`, () => opened.get(key));
  const { issuer } = server.authorizationServer;
  for (const key of ["counter", `refresh/tokens/default/${server.url}`, `login/default/${server.url}`, `registrations/${issuer}`])
    await check(`lock ${key} is stuck`, () => opened.withLock(key, async () => {}, { lockTimeout: atOnceMs }));
  if (isSqlite) {
    // Whoever lives lets go a moment after its last lock.
    for (let n = 0; n < 20 && locked(folder).length > 0; n++) await systemClock.sleep(100);
    found.push(...locked(folder), ...files(folder));
  }

  const news = children.flatMap((child) => child.news);
  const numbers = (kind: string, key: string) =>
    news.flatMap((piece) => ("n" in piece && piece.news === kind && piece.key === key ? [piece.n] : []));
  for (const key of keys.filter((name) => name.startsWith("writer/")))
    await check(key, async () => {
      const { n, text } = (await opened.get(key)) as { n?: number; text?: string };
      if (text !== textOf(n ?? 0)) found.push(`${key} is torn`);
      const [written, begun] = [Math.max(0, ...numbers("written", key)), Math.max(0, ...numbers("writing", key))];
      if (!(n && n >= written && n <= begun)) found.push(`${key} has ${n}, although ${written} was written and ${begun} begun`);
    });
  const counted = numbers("counted", "counter");
  const last = Math.max(0, ...counted);
  if (new Set(counted).size < counted.length) found.push("two held a lock at once: a number was counted twice");
  await check("counter", async () => {
    const n = Number((await opened.get("counter"))?.n ?? 0);
    if (n < last || n > last + 1) found.push(`the counter has ${n} after ${last}`);
  });
  return found;
}

/** Who holds locks, below the interface. */
function locked(folder: string): string[] {
  const found: string[] = [];
  for (const file of globSync("*/locks/*.owner", { cwd: folder })) {
    const owner = new DatabaseSync(join(folder, file));
    try {
      owner.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      found.push(`${file}: ${String(error)}`);
    } finally {
      owner.close();
    }
  }
  return found;
}

/** Below the interface: the database is whole, nothing was set aside. */
function files(folder: string): string[] {
  const found = globSync("*/records.sqlite.*-*", { cwd: folder }).map((file) => `${file} was set aside`);
  for (const file of globSync("*/records.sqlite", { cwd: folder })) {
    const database = new DatabaseSync(join(folder, file));
    const [result] = database.prepare("PRAGMA integrity_check").all();
    if (result?.integrity_check !== "ok") found.push(`${file}: ${String(result?.integrity_check)}`);
    database.close();
  }
  return found;
}

/**
 * The login is alive: what is stored can be refreshed. It may be lost only at a strict server that has processed a refresh
 * of the killed process, which had not stored the answer.
 */
export async function checkLogin(kind: Kind, finished: Finished): Promise<{ lost: boolean; violations: string[] }> {
  const { server, store, victim, children, outcomes, isStrict } = finished;
  const processed = refreshRequests(finished).length > 0;
  const mayBeLost =
    kind === "refresh" && isStrict && processed && victim?.saw("refresh.started") === 1 && victim.saw("refresh.finished") === 0;
  const refused = outcomes?.some((outcome, i) => children[i] !== victim && JSON.stringify(outcome) !== '{"200":3}') ?? true;

  const clock = { now: () => Date.now() + 20 * 60_000, sleep: systemClock.sleep };
  await using auth = new TokenManager({ serverUrl: server.url, store: store(), clock });
  const error = await auth.getAccessToken().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const violations: string[] = [];
  const isOver = error instanceof McpAuthError && error.code === "login_required";
  if (error && !isOver) violations.push(`the login cannot be used: ${String(error)}`);
  if ((isOver || refused) && !mayBeLost) violations.push("the login is lost");
  if (!error && server.authorizationServer.liveLogins < 1) violations.push("the server knows no login");
  if (kind === "login") violations.push(...windows(finished));
  return { lost: mayBeLost && (isOver || refused), violations };
}

/** Somebody takes over at most once: one window and one registration more than one. */
function windows({ children, server }: Finished): string[] {
  const opened = children.flatMap(({ news }) => news).filter(({ news }) => news === "browser").length;
  const registered = server.authorizationServer.registrations.length;
  return [...(opened > 2 ? [`${opened} windows opened`] : []), ...(registered > 2 ? [`${registered} registrations`] : [])];
}

/** While the login lives, a refresh token is sent twice only if the first sender was killed. */
export function checkRefreshes(finished: Finished): string[] {
  const sent = new Map<string, number>();
  for (const { form } of refreshRequests(finished)) {
    const token = form.get("refresh_token") ?? "";
    sent.set(token, (sent.get(token) ?? 0) + 1);
  }
  const allowed = (finished.victim?.saw("refresh.started") ?? 0) > 0 ? 2 : 1;
  return [...sent.values()].filter((count) => count > allowed).map((count) => `a refresh token was sent ${count} times`);
}

function refreshRequests({ server }: Finished) {
  return server.authorizationServer.tokenRequests("refresh_token");
}
