/** Runs in which one of several processes is killed, and what must be true afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { type Store, systemClock, TokenManager } from "../../src/index.ts";
import { sqliteStore } from "../../src/node/index.ts";
import { logInByHand, type ProtectedServer, person, startProtectedServer } from "../fixture/index.ts";
import { type Child, startChild } from "../processes/child.ts";
import type { ProgramSettings } from "../processes/program.ts";
import { Random } from "../processes/random.ts";
import { checkLogin, checkRefreshes, checkStore, checkWork, type Finished } from "./check.ts";
import { lockMoments, loginMoments, type Moment, refreshMoments, writeMoments } from "./moments.ts";
import { type WrongStore, wrongStores } from "./wrong-stores.ts";

export const kinds = ["refresh", "login", "write", "lock"] as const;
export type Kind = (typeof kinds)[number];

/** Options of {@link chaos}. */
export interface ChaosOptions {
  seed: number;
  /** Numbers of the runs: with the same seed the same number is the same run, as far as chance was ours. */
  runs: Iterable<number>;
  kinds?: readonly Kind[];
  wrongStore?: WrongStore | undefined;
}

/** What a run was, and what came of it. */
export interface Result {
  run: number;
  kind: Kind;
  moment: string;
  /** Of the authorization server: whether a used refresh token is forgiven for a while. */
  server: "strict" | "grace";
  processes: number;
  /** The login was lost because the server had taken the refresh token, and its answer was stored nowhere yet. */
  lost: boolean;
  /** What should not have happened. */
  violations: string[];
}

/** How long processes may take to finish their work after one was killed, in ms. */
const limitMs = 30_000;

export async function* chaos({ seed, runs, kinds: wanted = kinds, wrongStore }: ChaosOptions): AsyncGenerator<Result> {
  await using server = await startProtectedServer();
  const pool: Child[] = [];
  try {
    for (const run of runs) {
      const random = new Random(seed * 1_000_003 + run);
      const processes = 2 + Math.floor(random.below(3));
      const dead = pool.filter(({ isAlive }) => !isAlive);
      for (const child of dead) pool.splice(pool.indexOf(child), 1);
      pool.push(...(await Promise.all(Array.from({ length: Math.max(0, processes - pool.length) }, () => startChild()))));
      yield await one({ server, children: pool.slice(0, processes), random, run, kind: random.pick(wanted), wrongStore });
    }
  } finally {
    await Promise.all(pool.map((child) => child.kill()));
  }
}

interface Plan {
  server: ProtectedServer;
  children: Child[];
  random: Random;
  run: number;
  kind: Kind;
  wrongStore: WrongStore | undefined;
}

async function one({ server, children, random, run, kind, wrongStore }: Plan): Promise<Result> {
  const { authorizationServer: as } = server;
  server.reset();
  as.endLogins();
  const isStrict = random.below(2) < 1;
  as.graceSeconds = isStrict ? 0 : 60;
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-chaos-"));
  const store = () => (wrongStore ? wrongStores[wrongStore](folder) : sqliteStore({ app: manifest.name, folder }));
  try {
    if (kind === "refresh") await logIn(server, store());
    // An expired token is refreshed before it is used; one past half its life meanwhile.
    const aheadMs = kind === "refresh" ? random.pick([6, 3.5]) * 60_000 : 0;
    const settings: ProgramSettings = { serverUrl: server.url, folder, aheadMs, interactive: kind === "login" };
    // A lock that nobody frees is waited for no longer than needed.
    await Promise.all(children.map((child) => child.open({ ...settings, ...(wrongStore && { wrongStore, hurry: 20 }) })));
    for (const child of children)
      child.listen((news) => {
        if (news.news === "browser") person(news.url).catch(() => {});
      });

    const moment: Moment = random.pick(momentsOf[kind]);
    const { victim: chosen, release } = moment.prepare({ server, children, random });
    const work = children.map((child, i) => settled(workOf(kind, child, i)));
    const victim = await inTime(chosen);
    await victim?.kill();
    release();
    const outcomes = await inTime(Promise.all(work));
    // What runs in the background comes to its end, too.
    await Promise.all(children.map((child) => child.isAlive && inTime(settled(child.close()))));

    const finished: Finished = { server, store, children, victim, outcomes, isStrict, isSqlite: !wrongStore, folder };
    const violations = [...(victim ? [] : ["the moment never came"]), ...checkWork(kind, finished), ...(await checkStore(finished))];
    let lost = false;
    if (kind === "refresh" || kind === "login") {
      const login = await checkLogin(kind, finished);
      lost = login.lost;
      violations.push(...login.violations, ...(lost ? [] : checkRefreshes(finished)));
    }
    return { run, kind, moment: moment.name, server: isStrict ? "strict" : "grace", processes: children.length, lost, violations };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const momentsOf: Record<Kind, readonly Moment[]> = {
  refresh: refreshMoments,
  login: loginMoments,
  write: writeMoments,
  lock: lockMoments,
};

function workOf(kind: Kind, child: Child, i: number): Promise<unknown> {
  if (kind === "write") return child.write(`writer/${i}`, 30);
  if (kind === "lock") return child.count("counter", 30);
  return child.call(3);
}

/** A login as another process would have left it in the store. */
async function logIn({ url, authorizationServer: as, mcpServer: mcp }: ProtectedServer, store: Store): Promise<void> {
  const tokens = await logInByHand(as, { resource: mcp.resource, scope: "mcp:read" });
  await using auth = new TokenManager({ serverUrl: url, store });
  await auth.setTokens({ ...tokens, issuer: as.issuer, resource: mcp.resource });
  as.requests.length = 0;
}

/** The result, or the error's message. */
const settled = (work: Promise<unknown>): Promise<unknown> => work.catch((error: Error) => error.message);

/** `undefined` when it takes too long. */
async function inTime<T>(work: Promise<T>): Promise<T | undefined> {
  const over = new AbortController();
  try {
    return await Promise.race([work, systemClock.sleep(limitMs, { signal: over.signal }).then(() => undefined)]);
  } finally {
    over.abort();
  }
}
