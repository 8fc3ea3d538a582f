import { McpAuthError, type Store } from "../../../src/index.ts";
import { MachineTokenManager } from "../../../src/machine/index.ts";
// What is loaded when it is needed is there already: loading takes a time of its own.
import "../../../src/machine/obtain.ts";
import "../../../src/oauth4webapi.ts";
import type { Disk } from "../../simulation/disk.ts";
import { Host } from "../../simulation/host.ts";
import type { World } from "../../simulation/world.ts";
import type { Judge } from "./judge.ts";
import { issuer, type Network, resource, type Tool } from "./network.ts";

/** What all programs share. */
export interface Surroundings {
  world: World;
  disk: Disk<SimulatedProgram>;
  network: Network;
  judge: Judge;
  /** All that ever ran. */
  programs: SimulatedProgram[];
  /** Managers in each. */
  managers: number;
  keepFresh: boolean;
  /** The app names the authorization server. */
  isNamed: boolean;
  /** The app names the scopes. */
  isScoped: boolean;
  isFull: () => boolean;
  /** What a new process is given, and what a vault says. */
  vault: { secret: string; isAsked: boolean };
}

/** One manager of a program. */
export interface Manager {
  auth: MachineTokenManager;
  program: SimulatedProgram;
  /** Why it has asked for a token last. */
  reason: string | undefined;
  /** What it sent that was refused for good; when, by its clock and in truth. */
  refused: { secret: string; at: number; since: number } | undefined;
}

/** One process of a job: real token managers between a simulated disk, network and clock. */
export class SimulatedProgram extends Host {
  readonly around: Surroundings;
  readonly managers: readonly Manager[];
  /** The one that holds the lock. */
  asking: Manager | undefined;
  /** `dispose()` has begun, or finished. */
  isEnding = false;
  hasEnded = false;
  /** What it was started with. */
  readonly secret: string;
  /** When something went wrong, by its clock. */
  readonly troubles: number[] = [];
  /** What the last calls were answered. */
  readonly statuses: number[] = [];
  #calls = 0;

  constructor(name: string, around: Surroundings) {
    super(name, around.world);
    this.around = around;
    this.secret = around.vault.secret;
    around.judge.counts.processes++;
    const store = around.disk.storeFor(this);
    this.managers = Array.from({ length: around.managers }, () => this.#manager(store));
  }

  #manager(store: Store): Manager {
    const { network, judge, vault, keepFresh, isNamed, isScoped } = this.around;
    const auth: MachineTokenManager = new MachineTokenManager({
      serverUrl: resource,
      clientId: "program",
      clientSecret: vault.isAsked ? () => vault.secret : vault.secret,
      ...(isNamed && { issuer }),
      ...(isScoped && { scopes: ["read"] }),
      store,
      keepFresh,
      fetch: network.fetchFor(this),
      clock: this.clock,
      onEvent: (event) => {
        if (this.alive) judge.onEvent(event, manager);
      },
    });
    const manager: Manager = { auth, program: this, reason: undefined, refused: undefined };
    return manager;
  }

  call(tool: Tool): void {
    for (const { auth } of this.managers) {
      this.#ask(tool, () =>
        auth.fetch(resource, { method: "POST", body: JSON.stringify({ method: "tools/call", params: { name: tool } }) }),
      );
    }
  }

  token(): void {
    for (const { auth } of this.managers) this.#ask("token", () => auth.getAccessToken());
  }

  impatient(ms: number): void {
    const patience = new AbortController();
    this.around.world.after(ms, this, () => patience.abort(new McpAuthError("timeout")));
    for (const { auth } of this.managers) {
      this.#ask("token", () =>
        auth.getAccessToken({ signal: patience.signal }).catch((error: unknown) => {
          if (error !== patience.signal.reason) throw error;
        }),
      );
    }
  }

  end(): void {
    this.isEnding = true;
    this.#ask("end", async () => {
      await Promise.all(this.managers.map(({ auth }) => auth.dispose()));
      this.hasEnded = true;
    });
  }

  /** Its pending operations never settle; the operating system frees its locks. */
  die(landed: boolean, cutOff: boolean): void {
    this.bury(cutOff);
    this.around.disk.abandon(this, landed);
  }

  #ask(what: string, work: () => Promise<unknown>): void {
    const { world, judge } = this.around;
    const since = world.now;
    const caller = `${what} ${++this.#calls} of ${this.name}`;
    this.callers.add(caller);
    work().then(
      (answer) => {
        if (!this.alive) return;
        this.callers.delete(caller);
        if (answer instanceof Response) this.statuses.push(answer.status);
        judge.onAnswer(answer, since, caller, this);
      },
      (error: unknown) => {
        if (!this.alive) return;
        this.callers.delete(caller);
        judge.onError(error, since, caller, this);
      },
    );
  }
}
