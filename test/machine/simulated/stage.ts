import fc, { type Scheduler } from "fast-check";
import type { Store } from "../../../src/index.ts";
import { controlled } from "../../simulation/control.ts";
import { Disk } from "../../simulation/disk.ts";
import { Violation, World } from "../../simulation/world.ts";
import { type Counts, convalescenceMs, type Invariant, Judge } from "./judge.ts";
import { Network } from "./network.ts";
import { SimulatedProgram, type Surroundings } from "./program.ts";
import type { Happening, Schedule, Setting, What } from "./schedule.ts";

/** How a schedule is played. */
export interface PlayOptions {
  /** What of the programs is deliberately wrong. */
  broken?: ((store: Store) => Store) | undefined;
  /** The one invariant that is watched. Default: all. */
  only?: Invariant | undefined;
  /** Where what happened is added. */
  counts?: Counts | undefined;
}

const maxSteps = 5000;
const longestWaitMs = 60 * 60_000;
const tools = ["read", "write", "admin"] as const;

/** Plays one schedule to its end. @throws Violation */
export async function play({ setting, happenings }: Schedule, options: PlayOptions = {}): Promise<void> {
  const [scheduler] = fc.sample(fc.scheduler(), { numRuns: 1, seed: setting.seed }) as [Scheduler];
  const stage = new Stage(new PatientWorld(scheduler, {}), setting, options);
  try {
    await controlled(setting.seed, () => stage.play(happenings));
  } catch (error) {
    if (error instanceof Violation)
      error.steps = scheduler.report().map(({ label, status }) => `${label}${status === "pending" ? " (pending)" : ""}`);
    throw error;
  } finally {
    stage.count();
  }
}

/** Each step takes a moment; loading takes turns of the event loop even of what is there. */
class PatientWorld extends World {
  override settle(): Promise<void> {
    this.now++;
    this.handsOver();
    return super.settle();
  }
}

class Stage {
  readonly #world: World;
  readonly #setting: Setting;
  readonly #options: PlayOptions;
  readonly #judge: Judge;
  readonly #around: Surroundings;
  readonly #running: (SimulatedProgram | undefined)[];
  /** The client is bound to its authorization server. */
  #isBound = false;

  constructor(world: World, setting: Setting, options: PlayOptions) {
    const { managers, keepFresh, isNamed, isScoped, isAsked, processes } = setting;
    this.#world = world;
    this.#setting = setting;
    this.#options = options;
    const judge = new Judge(world, setting, options.only);
    this.#judge = judge;
    const onWritten = (_writer: SimulatedProgram, key: string) => {
      if (key.startsWith("registrations/")) this.#isBound = true;
    };
    const disk = new Disk<SimulatedProgram>(world, { onWritten, onReleased: () => {} });
    if (options.broken) {
      const { broken } = options;
      const storeFor = disk.storeFor.bind(disk);
      disk.storeFor = (program) => broken(storeFor(program));
    }
    const network = new Network(world, judge, setting);
    const vault = { secret: network.secret, isAsked };
    const isFull = () => disk.state === "full";
    this.#around = { world, disk, network, judge, programs: [], managers, keepFresh, isNamed, isScoped, isFull, vault };
    this.#running = Array.from({ length: processes }, () => undefined);
    judge.isUnwell = () => this.#isUnwell;
    judge.programs = this.#around.programs;
  }

  get #isUnwell(): boolean {
    const { network, disk, vault } = this.#around;
    const hasWrongSecret = vault.isAsked ? vault.secret !== network.secret : this.#alive.some(({ secret }) => secret !== network.secret);
    const isStopped = this.#alive.some(({ heldUp }) => heldUp);
    return hasWrongSecret || isStopped || network.hasMoved || network.refusesAll || network.allowed.length < 3 || disk.state === "fails";
  }

  async play(happenings: readonly Happening[]): Promise<void> {
    for (const { after, process, what } of happenings) {
      await this.#world.run(after);
      // What was wrong until now is wrong a little longer.
      if (this.#isUnwell) this.#judge.onTrouble();
      this.#happen(process % this.#running.length, what);
      await this.#world.settle();
    }
    await this.#calmDown();
    await this.#everythingWorks();
    for (const program of this.#alive) program.end();
    await this.#untilAnswered();
  }

  count(): void {
    const { counts } = this.#judge;
    counts.steps = this.#world.steps;
    const sum = this.#options.counts;
    if (sum) for (const name of Object.keys(counts) as (keyof Counts)[]) sum[name] += counts[name];
  }

  get #alive(): SimulatedProgram[] {
    return this.#around.programs.filter(({ alive }) => alive);
  }

  #program(index: number): SimulatedProgram {
    const running = this.#running[index];
    if (running?.alive && !running.isEnding) return running;
    const started = new SimulatedProgram(`process ${this.#around.programs.length + 1}`, this.#around);
    this.#running[index] = started;
    this.#around.programs.push(started);
    return started;
  }

  #happen(index: number, what: What): void {
    const running = this.#running[index];
    if (what.type === "call") this.#program(index).call(what.tool);
    if (what.type === "token") this.#program(index).token();
    if (what.type === "impatient") this.#program(index).impatient(what.ms);
    if (what.type === "everybody") for (let each = 0; each < this.#running.length; each++) this.#program(each).call(what.tool);
    if (what.type === "passes") this.#pass(what.ms);
    if (what.type === "ages") this.#pass(what.part * this.#setting.lifetime * 1000);
    this.#befall(what);
    if (running?.alive) this.#happenTo(running, what);
  }

  #pass(ms: number): void {
    // What nobody waits for may be under way, too: a call that comes later joins it.
    const isBusy = this.#world.isBusy || this.#alive.some(({ callers, requests }) => callers.size + requests.size > 0);
    this.#world.pass(ms);
    // Time limits have passed as well.
    if (isBusy) this.#judge.onTrouble();
  }

  /** To the world, where its setting allows that. */
  #befall(what: What): void {
    const { faults, refusals, disks, clocks } = this.#setting;
    const { network, disk, vault } = this.#around;
    if (what.type === "fate" && faults) network.fates.push(what.fate);
    if (what.type === "disk" && disks) {
      this.#judge.onReason();
      disk.state = what.state;
    }
    if (what.type === "suspend" && clocks) {
      this.#world.suspend(Math.max(what.ms, 0));
      this.#judge.onTrouble();
    }
    if (!refusals) return;
    if (what.type === "rotate") {
      this.#judge.onSetback();
      network.secret = `secret-number-${Number(network.secret.slice(14)) + 1}`;
      if (!what.isLate) vault.secret = network.secret;
    }
    if (what.type === "vault") vault.secret = network.secret;
    if (what.type === "refusal") network.refusals = 1;
    if (what.type === "revocation") {
      network.revokeAll();
      this.#judge.onSetback();
    }
    if (what.type === "move") network.hasMoved = this.#isBound;
    if (what.type === "return") network.hasMoved = false;
    if (what.type === "refuse" || what.type === "accept") network.refusesAll = what.type === "refuse";
    if (what.type === "narrow" || what.type === "widen") network.allowed = what.type === "narrow" ? ["read"] : tools;
    if (this.#isUnwell) this.#judge.onTrouble();
  }

  /** To a process that lives, where the world's setting allows that. */
  #happenTo(program: SimulatedProgram, what: What): void {
    const { crashes, clocks } = this.#setting;
    if (what.type === "end") program.end();
    if (what.type === "crash" && crashes) {
      this.#judge.counts.crashes++;
      this.#judge.onGivenUp();
      program.die(what.landed, what.cutOff);
    }
    if (what.type === "jump" && clocks) {
      this.#judge.onTrouble();
      this.#judge.hasSkew = true;
      program.jump(what.ms);
    }
    if (what.type === "stop" && crashes) program.stop();
    if (what.type === "continue") {
      if (program.heldUp) this.#judge.onTrouble();
      program.continue();
    }
  }

  /** Nothing goes wrong any more: whoever waits gets an answer. */
  async #calmDown(): Promise<void> {
    const { network, disk, vault } = this.#around;
    this.#judge.onTrouble();
    Object.assign(network, { hasMoved: false, refusesAll: false, refusals: 0, allowed: tools });
    network.fates.length = 0;
    disk.state = "works";
    vault.secret = network.secret;
    for (const program of this.#alive) program.continue();
    await this.#untilAnswered();
    for (const program of this.#alive) if (!vault.isAsked && program.secret !== vault.secret) program.die(true, true);
  }

  /** After a while it is as if nothing had ever been. */
  async #everythingWorks(): Promise<void> {
    this.#world.pass(convalescenceMs + 60_000);
    await this.#untilAnswered();
    for (const tool of tools) {
      for (let each = 0; each < this.#running.length; each++) this.#program(each).call(tool);
      await this.#untilAnswered();
    }
  }

  async #untilAnswered(): Promise<void> {
    const world = this.#world;
    const end = world.now + longestWaitMs;
    for (;;) {
      await world.settle();
      await world.run(1);
      const waiting = this.#alive.flatMap(({ callers }) => [...callers]);
      if (waiting.length === 0 && !world.isBusy) return;
      if (world.isBusy && world.steps < maxSteps) continue;
      const due = world.nextDue;
      if (due === undefined || due > end || world.steps >= maxSteps) this.#judge.fail("never answered", waiting.join(", "));
      else world.pass(due - world.now);
    }
  }
}
