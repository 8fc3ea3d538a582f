// What is loaded when it is needed is there already: loading takes a time of its own.
import "../../src/login/lock.ts";
import "../../src/oauth4webapi.ts";
import { type LoginHandler, McpAuthError, TokenManager } from "../../src/index.ts";
import type { SimulatedAuthorizationServer } from "./authorization-server.ts";
import { runOn } from "./control.ts";
import { Host } from "./host.ts";
import type { Judge } from "./judge.ts";
import { issuer, type Network, resource } from "./network.ts";
import type { SharedStore } from "./shared-store.ts";
import type { World } from "./world.ts";

/** What all processes share. */
export interface Surroundings {
  world: World;
  disk: SharedStore<SimulatedProcess>;
  network: Network;
  judge: Judge;
  issuer: SimulatedAuthorizationServer;
  /** Refreshes by timers. */
  keepFresh: boolean;
  /** Who logs in when asked; nobody by default. */
  user: User | undefined;
}

/** What a user does when a window opens. */
export interface User {
  mood: "allows" | "denies" | "leaves";
}

/** How long a user takes, in ms. */
const personTakesMs = 5000;

/** One process of an app: the real token manager between a simulated disk, network and clock. */
export class SimulatedProcess extends Host {
  /** `dispose()` has finished. */
  hasEnded = false;
  /** The app knows that something could not be stored. */
  isTold = false;
  /** Its last refresh has brought nothing. */
  hasFailedToRefresh = false;
  /** Logouts that are under way. */
  logouts = 0;
  hasLoggedOut = false;
  /** Access tokens that the protected server has refused it. */
  readonly wasRefused = new Set<string>();
  readonly auth: TokenManager;

  readonly #around: Surroundings;
  #calls = 0;

  constructor(name: string, around: Surroundings) {
    super(name, around.world);
    this.#around = around;
    const { world, disk, network, judge, keepFresh, user } = around;
    world.counts.processes++;
    const manager = () =>
      new TokenManager({
        serverUrl: resource,
        issuer,
        clientId: "app",
        redirectUris: ["http://127.0.0.1:1/callback"],
        store: disk.storeFor(this),
        fetch: network.fetchFor(this),
        clock: this.clock,
        keepFresh,
        loginHandler: user && this.#handler(user),
        onEvent: (event) => {
          if (this.alive && !(world.broken === "does not tell" && event.type === "tokens.unsaved")) judge.onEvent(event, this);
        },
      });
    this.auth = runOn(this, manager);
  }

  token(): void {
    this.#ask(
      "token",
      () => this.auth.getAccessToken(),
      (token) => this.#around.judge.onHandedOut(token, this),
    );
  }

  impatient(ms: number): void {
    const patience = new AbortController();
    this.#around.world.after(ms, this, () => patience.abort(new McpAuthError("timeout")));
    this.#ask(
      "token",
      () => this.auth.getAccessToken({ signal: patience.signal }),
      (token) => this.#around.judge.onHandedOut(token, this),
    );
  }

  call(): void {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
    this.#ask(
      "call",
      () => this.auth.fetch(resource, { method: "POST", body }),
      (response) => {
        this.lastStatus = response.status;
      },
    );
  }

  /** What the last call was answered. */
  lastStatus: number | undefined;

  authorize(): void {
    this.#ask("authorize", () => this.auth.authorize());
  }

  logout(): void {
    this.hasLoggedOut = true;
    this.logouts++;
    this.#ask("logout", () =>
      this.auth.logout().finally(() => {
        this.logouts--;
      }),
    );
  }

  dispose(): void {
    this.#ask(
      "dispose",
      () => this.auth.dispose(),
      () => {
        this.hasEnded = true;
      },
    );
  }

  /** Ends as a program does: disposes, then exits. */
  end(): void {
    this.#ask(
      "end",
      () => this.auth.dispose(),
      () => {
        this.hasEnded = true;
        this.#around.judge.onEnded(this);
        this.die(false, false);
      },
    );
  }

  /**
   * Its pending operations never settle; the operating system frees its locks.
   *
   * @param landed whether what it was writing is there
   * @param cutOff whether the requests that it was sending are lost
   */
  die(landed: boolean, cutOff: boolean): void {
    const { disk } = this.#around;
    this.closeWindow();
    this.bury(cutOff);
    disk.abandon(this, landed);
  }

  #window = false;

  /** Its window is closed, or nobody counts it any more. */
  closeWindow(): void {
    if (this.#window) this.#around.judge.onWindowClosed();
    this.#window = false;
  }

  #ask<T>(what: string, work: () => Promise<T>, onAnswer: (answer: T) => void = () => {}): void {
    const { world, judge } = this.#around;
    const steps = [...this.reading].map(({ step }) => step);
    const since = { step: Math.min(world.steps, ...steps), time: world.now };
    const caller = `${what} ${++this.#calls} of ${this.name}`;
    this.callers.add(caller);
    runOn(this, work).then(
      (answer) => {
        if (!this.alive) return;
        this.callers.delete(caller);
        world.counts["callers answered"]++;
        onAnswer(answer);
      },
      (error: unknown) => {
        if (!this.alive) return;
        this.callers.delete(caller);
        judge.onError(error, this, since, what);
      },
    );
  }

  #handler(user: User): LoginHandler {
    const { world, judge } = this.#around;
    const redirectUri = "http://127.0.0.1:1/callback";
    return {
      start: async () => ({
        redirectUri,
        redirectUris: [redirectUri],
        authorize: async (url, receive, signal) => {
          this.#window = this.loginSince >= 0;
          if (this.#window) judge.onWindowOpened(this);
          try {
            await this.sleep(user.mood === "leaves" ? 3_600_000 : personTakesMs, { signal });
            if (world.broken === "throws anything") throw new Error("no window");
            const state = url.searchParams.get("state") ?? "";
            await receive(new URLSearchParams({ state, ...(user.mood === "denies" ? { error: "access_denied" } : { code: "code" }) }));
          } finally {
            this.closeWindow();
          }
        },
        close: async () => {},
      }),
    };
  }
}
