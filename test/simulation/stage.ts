import fc, { type Scheduler } from "fast-check";
import { writeDiscovery } from "../../src/discovery/cache.ts";
import { MemoryStore, TokenManager } from "../../src/index.ts";
import { SimulatedAuthorizationServer } from "./authorization-server.ts";
import { controlled } from "./control.ts";
import { add, type Counts } from "./counts.ts";
import { Disk } from "./disk.ts";
import { Judge } from "./judge.ts";
import { issuer, metadata, Network, resource } from "./network.ts";
import { SimulatedProcess, type Surroundings, type User } from "./process.ts";
import { RedisForAll } from "./redis-store.ts";
import { day, type Happening, hour, minute, type Schedule, type Setting, second, type What } from "./schedule.ts";
import { type Broken, type Invariant, Violation, World } from "./world.ts";

/** How a schedule is played. */
export interface PlayOptions {
  /** What is deliberately wrong in this world. */
  broken?: Broken | undefined;
  /** The one invariant that is watched. Default: all. */
  only?: Invariant | undefined;
  /** Where what happened is added. */
  counts?: Counts | undefined;
}

/** More steps than any schedule needs. */
const maxSteps = 5000;

/** Plays one schedule to its end. @throws Violation */
export async function play({ setting, happenings }: Schedule, options: PlayOptions = {}): Promise<void> {
  // Made from a seed of the schedule's own: a scheduler that fast-check hands over is not the same in each attempt to shrink.
  const [scheduler] = fc.sample(fc.scheduler(), { numRuns: 1, seed: setting.seed }) as [Scheduler];
  const world = new World(scheduler, options);
  try {
    await controlled(setting.seed, () => new Stage(world, setting).play(happenings));
  } catch (error) {
    if (error instanceof Violation)
      error.steps = scheduler.report().map(({ label, status }) => `${label}${status === "pending" ? " (pending)" : ""}`);
    throw error;
  } finally {
    world.counts.steps = world.steps;
    if (options.counts) add(options.counts, world.counts);
  }
}

class Stage {
  readonly #world: World;
  readonly #setting: Setting;
  readonly #around: Surroundings;
  readonly #running: (SimulatedProcess | undefined)[];
  /** Also those whose place another has taken. */
  readonly #all: SimulatedProcess[] = [];
  readonly #redis: RedisForAll<SimulatedProcess> | undefined;
  readonly #user: User = { mood: "allows" };

  constructor(world: World, setting: Setting) {
    this.#world = world;
    this.#setting = setting;
    const server = new SimulatedAuthorizationServer(world, setting);
    const judge = new Judge(world, server);
    const redis = setting.lease > 0 ? new RedisForAll(world, judge, setting.lease * second) : undefined;
    const disk = redis ?? new Disk(world, judge);
    judge.mayRefresh = (sender) => disk.mayRefresh(sender);
    this.#redis = redis;
    const network = new Network(world, server, judge);
    const user = setting.hasUser ? this.#user : undefined;
    this.#around = { world, disk, network, judge, issuer: server, keepFresh: setting.keepFresh, user };
    world.losesLocks = setting.lostLocks && !redis;
    this.#running = Array.from({ length: setting.processes }, () => undefined);
  }

  async play(happenings: readonly Happening[]): Promise<void> {
    if (this.#setting.isLoggedIn || !this.#setting.hasUser) await this.#begin();
    for (const { after, process, what } of happenings) {
      await this.#world.run(after);
      this.#happen(process % this.#running.length, what);
      await this.#world.settle();
    }
    await this.#calmDown();
    await this.#everybodyEnds();
    await this.#lastCall();
    this.#around.judge.finish();
  }

  /** A login is stored, as another process left it. */
  async #begin(): Promise<void> {
    const { disk, judge, issuer: server } = this.#around;
    const { accessToken, refreshToken } = server.logIn();
    const { lifetime, announced, age, isDiscovered } = this.#setting;
    const world = this.#world;
    const store = new MemoryStore();
    const clock = { now: () => world.now, sleep: () => Promise.resolve() };
    const auth = new TokenManager({ serverUrl: resource, store, clock });
    await auth.setTokens({ accessToken, refreshToken, ...(announced && { expiresIn: lifetime }), issuer, clientId: "app", resource });
    if (isDiscovered) {
      const times = { fetchedAt: world.now, validUntil: world.now + 7 * day };
      await writeDiscovery(store, resource, { serverUrl: resource, resource, issuer, server: metadata, legacy: false, ...times });
    }
    for (const key of await store.keys("")) {
      const record = await store.get(key);
      if (record) await disk.put(key, record);
      if (record && key.startsWith("tokens/")) judge.begin(record);
    }
    world.now += age * lifetime * second;
  }

  /** Whoever is dead or disposed of is started anew. */
  #process(index: number): SimulatedProcess {
    const running = this.#running[index];
    if (running?.alive && !running.hasEnded) return running;
    const started = new SimulatedProcess(`process ${this.#all.length + 1}`, this.#around);
    this.#running[index] = started;
    this.#all.push(started);
    return started;
  }

  #happen(index: number, what: What): void {
    const running = this.#running[index];
    if (what.type === "token" || what.type === "call" || what.type === "authorize") this.#process(index)[what.type]();
    if (what.type === "impatient") this.#process(index).impatient(what.ms);
    if (what.type === "everybody") for (let each = 0; each < this.#running.length; each++) this.#process(each).token();
    if (what.type === "passes") this.#world.pass(what.ms);
    if (what.type === "ages") this.#world.pass(what.part * this.#setting.lifetime * second);
    if (what.type === "user") this.#user.mood = what.mood;
    this.#befall(what);
    if (running?.alive) this.#happenTo(running, what);
  }

  /** To the world, where its setting allows that. */
  #befall(what: What): void {
    const { faults, fullDisks, lostLocks, clocks } = this.#setting;
    const { network, disk } = this.#around;
    if (what.type === "fate" && faults) network.fates.push(what.fate);
    if (what.type === "command" && faults) this.#redis?.fates.push(what.fate);
    if (what.type === "refusal" && faults) network.refusals++;
    if (what.type === "disk" && fullDisks) disk.state = what.state;
    if (what.type === "locks" && lostLocks) disk.loseLocks();
    if (what.type === "suspend" && clocks) {
      this.#world.counts["clock jumps"]++;
      this.#world.suspend(Math.max(what.ms, 0));
    }
  }

  /** To a process that lives, where the world's setting allows that. */
  #happenTo(process: SimulatedProcess, what: What): void {
    const { crashes, clocks, stops } = this.#setting;
    const { counts } = this.#world;
    if (what.type === "logout" || what.type === "end" || what.type === "dispose" || what.type === "continue") process[what.type]();
    if (what.type === "crash" && crashes) {
      counts.crashes++;
      process.die(what.landed, what.cutOff);
    }
    if (what.type === "jump" && clocks) {
      counts["clock jumps"]++;
      process.jump(what.ms);
    }
    if (what.type === "blocked" && stops) {
      counts.blocks++;
      process.stop();
      this.#world.after(what.ms, undefined, () => process.continue());
    }
    if (what.type === "stop" && stops) {
      counts.stops++;
      process.stop();
    }
  }

  get #alive(): SimulatedProcess[] {
    return this.#all.filter(({ alive }) => alive);
  }

  /** Nothing goes wrong any more: whoever waits gets an answer, and what was not stored is. */
  async #calmDown(): Promise<void> {
    const { network, disk } = this.#around;
    disk.state = "works";
    network.fates.length = 0;
    if (this.#redis) this.#redis.fates.length = 0;
    network.refusals = 0;
    this.#user.mood = "allows";
    for (const process of this.#alive) process.continue();
    await this.#until(() => this.#alive.every(({ callers, isTold, hasEnded }) => callers.size === 0 && (hasEnded || !isTold)));
  }

  async #everybodyEnds(): Promise<void> {
    for (const process of this.#alive) process.end();
    await this.#until(() => this.#alive.length === 0);
  }

  /** A process that starts afterwards gets on with the login, unless it was lost by the one exception or ended. */
  async #lastCall(): Promise<void> {
    const { judge } = this.#around;
    const world = this.#world;
    // What is still on its way to Redis arrives.
    world.pass(minute);
    await this.#until(() => !world.isBusy);
    const login = judge.storedLogin;
    const last = new SimulatedProcess("the last process", { ...this.#around, user: undefined });
    this.#all.push(last);
    // Twice: a clock that was put forward may have noted a refusal of just now.
    for (let call = 0; call < 2 && last.lastStatus !== 200; call++) {
      // The token has expired, and a refresh token that was refused, though not for good, is no longer left alone.
      world.pass(Math.max(2 * this.#setting.lifetime * second, hour));
      last.call();
      await this.#until(() => last.callers.size === 0);
    }
    if (!login || login.loggedOut || judge.isLost(login) || last.lastStatus === 200) return;
    world.fail("login lost", `${login.name} does not work any more`);
    await world.settle();
  }

  async #until(isReached: () => boolean): Promise<void> {
    const world = this.#world;
    const end = world.now + 2 * hour;
    for (;;) {
      await world.settle();
      await world.run(1);
      if (isReached()) return;
      if (world.isBusy && world.steps < maxSteps) continue;
      const due = world.nextDue;
      if (due === undefined || due > end || world.steps >= maxSteps) {
        const waiting = this.#alive.flatMap(({ name, callers, isTold }) => [...callers, ...(isTold ? [`${name}, unsaved`] : [])]);
        world.fail("never answered", waiting.join(", "));
      } else world.pass(due - world.now);
    }
  }
}
