import { inspect } from "node:util";
import { type AuthEvent, McpAuthError } from "../../../src/index.ts";
import type { Request } from "../../simulation/wire.ts";
import { Violation, type World } from "../../simulation/world.ts";
import { issuer, type Rules } from "./network.ts";
import type { Manager, SimulatedProgram } from "./program.ts";

/** What must hold in every schedule. */
export type Invariant =
  /** Never are two token requests of one identity in flight at once. */
  | "two at once"
  /** Where nothing is wrong, and has not been for a while, every call succeeds. */
  | "healthy call failed"
  /** A token is asked for when there is none, when the one before is past half its lifetime, or when it was refused. */
  | "needless request"
  /** What was refused for good is not asked again within a minute with the same secret. */
  | "asked again"
  /** A secret goes to the token endpoint of the bound server, a token to the protected server; none is asked for after the end. */
  | "sent elsewhere"
  | "sent after the end"
  /** Whoever waits gets an answer. */
  | "never answered"
  /** What is thrown is a typed error. */
  | "untyped error"
  /** No secret and no token is in an error or event. */
  | "secret shown";

/** What an answer to a token request was. */
export interface Sent {
  /** The secret that was refused. */
  refused: string;
}

/** What happened in the schedules. */
export const counted = {
  steps: 0,
  processes: 0,
  crashes: 0,
  "token requests": 0,
  tokens: 0,
  "tokens shared": 0,
  "tokens unsaved": 0,
  refusals: 0,
  "secrets refused": 0,
  "step-ups": 0,
  troubles: 0,
  "calls answered": 0,
  "calls answered by another status": 0,
  "healthy calls": 0,
  "calls told why not": 0,
};
export type Counts = typeof counted;

/** Longer than anything is remembered that went wrong, in ms. */
export const convalescenceMs = 15 * 60_000;

/** Sees everything that happens, and says what must not. */
export class Judge {
  readonly counts: Counts = { ...counted };
  readonly #world: World;
  readonly #rules: Rules;
  readonly #only: Invariant | undefined;
  /** Clocks differ: who reads what another has stored may take it for expired. */
  hasSkew = false;
  /** All that ever ran. */
  programs: readonly SimulatedProgram[] = [];
  /** Whether something is wrong now. */
  isUnwell = () => false;
  /** When something went wrong last, in ms since 1970. */
  #troubleAt = Number.NEGATIVE_INFINITY;
  #setbackAt = Number.NEGATIVE_INFINITY;
  /** When a token was refused last. */
  #refusedAt = Number.NEGATIVE_INFINITY;
  /** When the last token was issued; how often something has given reason for another since. */
  /** Scopes that calls were refused for, and no token has had since. */
  readonly #lacking = new Set<string>();
  #issued: { at: number; reasons: number } | undefined;

  constructor(world: World, rules: Rules, only: Invariant | undefined) {
    this.#world = world;
    this.#rules = rules;
    this.#only = only;
  }

  fail(invariant: Invariant, detail: string): void {
    if (this.#only === undefined || this.#only === invariant) this.#world.violation ??= new Violation(invariant, detail);
  }

  /** From now on something may fail that would not otherwise. */
  onTrouble(): void {
    this.counts.troubles++;
    this.#troubleAt = this.#world.now;
    for (const program of this.programs) if (program.alive) program.troubles.push(program.now());
    this.onReason();
  }

  /** A token may have been issued that nobody has. */
  onGivenUp(): void {
    this.onTrouble();
    this.#onUnshared();
  }

  /** Others do not have the last token: whatever was wanted of it is wanted still. */
  #onUnshared(): void {
    this.onReason();
    for (const scope of ["write", "admin"]) this.#lacking.add(scope);
  }

  /** Something gives reason to ask for another token. */
  onReason(): void {
    if (this.#issued) this.#issued.reasons++;
  }

  /** A token or secret that was good is not any more. One at a time costs nothing; a token whose end nobody had told counts as well. */
  onSetback(): void {
    // A token that is new and refused all the same says that the servers disagree: that costs a call.
    if (this.#world.now - Math.max(this.#setbackAt, this.#refusedAt) < 120_000) this.onTrouble();
    this.#setbackAt = this.#world.now;
    this.onReason();
  }

  /** The protected server has refused a call. @param scope what it lacks */
  onRefused(scope?: string): void {
    this.counts.refusals++;
    if (scope) this.#lacking.add(scope);
    else {
      this.#refusedAt = this.#world.now;
      this.onReason();
    }
  }

  onSent({ url, body, authorization = "", bearer = "" }: Request, program: SimulatedProgram): void {
    const isTokenRequest = body.has("grant_type");
    if (program.hasEnded && isTokenRequest) this.fail("sent after the end", `${program.name} asks ${url.href}`);
    if (authorization.startsWith("Basic") && url.href !== `${issuer}/token`) this.fail("sent elsewhere", `a secret to ${url.href}`);
    if (isTokenRequest && url.href !== `${issuer}/token`) this.fail("sent elsewhere", `a token request to ${url.href}`);
    if (bearer.startsWith("token") && url.origin !== "https://mcp.example") this.fail("sent elsewhere", `a token to ${url.href}`);
    if (!isTokenRequest) return;
    this.counts["token requests"]++;
    const inFlight = program.around.programs.filter(({ alive }) => alive).flatMap(({ requests }) => [...requests]);
    if (inFlight.filter(({ body }) => body.has("grant_type")).length > 1) this.fail("two at once", `${program.name} asks beside another`);
    const [, secret = ""] = atob(authorization.replace("Basic ", "")).split(":");
    const manager = program.asking;
    const { refused } = manager ?? {};
    // A clock that was put back shows the same minute again.
    const isSoon = refused && this.#world.now - refused.since < 60_000;
    if (isSoon && refused.secret === secret && program.now() - refused.at < 60_000 && program.now() >= refused.at)
      this.fail("asked again", `${program.name} sends ${secret} ${program.now() - refused.at} ms after it was refused`);
  }

  /** The authorization server has refused a secret, and the program knows. */
  onAnswered({ refused: secret }: Sent, program: SimulatedProgram): void {
    this.counts["secrets refused"]++;
    if (this.isUnwell()) this.onTrouble();
    else this.onReason();
    const manager = program.asking;
    if (manager && manager.reason !== "ahead") manager.refused = { secret, at: program.now(), since: this.#world.now };
  }

  onIssued(program: SimulatedProgram, scopes: readonly string[]): void {
    this.counts.tokens++;
    const { at = Number.NEGATIVE_INFINITY, reasons = 1 } = this.#issued ?? {};
    const { lifetime, announced } = this.#rules;
    const isDue = announced && this.#world.now - at >= lifetime * 500;
    const isStepUp = scopes.filter((scope) => this.#lacking.delete(scope)).length > 0;
    if (!isDue && !isStepUp && reasons === 0 && !this.hasSkew && !this.isUnwell() && !program.around.isFull())
      this.fail("needless request", `${program.name} asks ${this.#world.now - at} ms after the last token`);
    this.#issued = { at: this.#world.now, reasons: 0 };
  }

  onEvent(event: AuthEvent, manager: Manager): void {
    this.#assertSecret(event, "an event");
    if (event.type === "refresh.started") {
      manager.reason = event.reason;
      manager.program.asking = manager;
    }
    if (event.type === "refresh.shared") this.counts["tokens shared"]++;
    if (event.type === "tokens.unsaved") {
      this.counts["tokens unsaved"]++;
      this.#onUnshared();
    }
    if (event.type === "step-up.started") this.counts["step-ups"]++;
  }

  /** Whether a call that began then must have succeeded. */
  #isHealthy(since: number, program: SimulatedProgram): boolean {
    const { now } = this.#world;
    const began = program.now() - (now - since);
    // By a clock that was put back, it is the time of that trouble again.
    if (program.troubles.some((at) => began >= at && began - at <= convalescenceMs)) return false;
    return !this.isUnwell() && since - this.#troubleAt > convalescenceMs && now - since < this.#rules.lifetime * 100;
  }

  onAnswer(answer: unknown, since: number, caller: string, program: SimulatedProgram): void {
    this.counts["calls answered"]++;
    const status = answer instanceof Response ? answer.status : 200;
    if (status !== 200) this.counts["calls answered by another status"]++;
    if (!this.#isHealthy(since, program)) return;
    this.counts["healthy calls"]++;
    if (status !== 200) this.fail("healthy call failed", `${caller}: status ${status}`);
  }

  onError(error: unknown, since: number, caller: string, program: SimulatedProgram): void {
    this.counts["calls told why not"]++;
    if (!(error instanceof McpAuthError)) this.fail("untyped error", `${caller}: ${inspect(error)}`);
    this.#assertSecret(error, "an error");
    if (!program.isEnding && this.#isHealthy(since, program)) this.fail("healthy call failed", `${caller}: ${String(error)}`);
  }

  #assertSecret(thing: unknown, what: string): void {
    const shown = /(secret|token)-number-\d+/.exec(inspect(thing, { depth: 10, showHidden: true }));
    if (shown) this.fail("secret shown", `${shown[0]} in ${what}`);
  }
}
