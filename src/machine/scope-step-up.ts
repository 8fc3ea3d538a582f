import { abortable } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { isTransient } from "../errors.ts";
import { insufficiency, StepUpMemory } from "../login/step-up.ts";
import type { CachedToken } from "../tokens/cached-token.ts";
import { remember } from "../tokens/session.ts";
import type { ObtainToken } from "./obtain.ts";
import type { MachineRecord } from "./record.ts";
import type { MachineSession } from "./session.ts";

/** What every token of a program is asked for with: a refusal is one of these, whatever the scopes. */
export const ownCredentials = "own credentials";

/** @throws McpAuthError what the authorization server said for good, as long as it is too soon to ask again */
export function throwIfPaused(token: CachedToken<MachineRecord>): void {
  if (token.refusal && !token.backoff.mayRefresh(ownCredentials, "expired")) throw token.refusal;
}

/** A program's tokens with more scopes: asked for within limits, and once for all calls that lack the same ones. */
export class ScopeStepUp {
  readonly #session: MachineSession;
  readonly #token: CachedToken<MachineRecord>;
  readonly #obtaining: () => Promise<ObtainToken>;
  /** Those under way, by scopes. */
  readonly #running = new Map<string, Promise<void>>();
  readonly #memory = new StepUpMemory();

  constructor(session: MachineSession, token: CachedToken<MachineRecord>, obtaining: () => Promise<ObtainToken>) {
    this.#session = session;
    this.#token = token;
    this.#obtaining = obtaining;
  }

  /** The server refused a call for lack of scopes. @throws McpAuthError why they cannot be had */
  async onInsufficientScope(challenge: Challenge, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const scopes = splitScope(challenge.scope).sort();
    const key = scopes.join(" ");
    const running = this.#running.get(key) ?? this.#begin(scopes, `${key}\n${request.operation}`);
    if (!running) {
      const details = { serverUrl: this.#session.server, issuer: this.#token.record?.issuer };
      remember(this.#session, insufficiency(challenge, details));
      return "give-up";
    }
    await abortable(running, request.signal);
    return "retry";
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  /** @returns `undefined` when there were enough attempts. @throws McpAuthError what has been refused already */
  #begin(scopes: readonly string[], cause: string): Promise<void> | undefined {
    const { clock, emit } = this.#session;
    const now = clock.now();
    const refusal = this.#memory.refusal(scopes, now);
    if (refusal) throw refusal;
    throwIfPaused(this.#token);
    const attempt = scopes.length > 0 ? this.#memory.attempt(cause, now) : undefined;
    if (attempt === undefined) return undefined;
    emit({ type: "step-up.started", scopes, attempt });
    const key = scopes.join(" ");
    const before = [this.#token.running, ...this.#running.values()];
    const running = this.#ask(scopes, before)
      .catch((error: unknown) => {
        if (isTransient(error)) this.#memory.undo(cause);
        throw error;
      })
      .finally(() => this.#running.delete(key));
    // Whoever gave up waiting does not hear of a failure.
    running.catch(() => {});
    this.#running.set(key, running);
    return running;
  }

  /** @param before what is under way: its answer counts for this request, too */
  async #ask(scopes: readonly string[], before: readonly unknown[]): Promise<void> {
    const { backoff, record: known } = this.#token;
    await Promise.allSettled(before);
    throwIfPaused(this.#token);
    backoff.throwIfBusy();
    const obtainToken = await this.#obtaining();
    const { record, error } = await obtainToken(known, { reason: "ahead" }, { scopes }).catch((fault: unknown) => {
      if (isTransient(fault)) backoff.onFault(fault);
      throw fault;
    });
    // It was not asked for because the one before was refused: should it be, that says nothing yet.
    if (!error) return this.#token.use(record, "store");
    if (error.code === "insufficient_scope") this.#memory.refuse(scopes, error, this.#session.clock.now());
    else {
      // What has nothing to do with the scopes would befall any other request as well.
      this.#token.refusal = error;
      backoff.onRefusal(ownCredentials, false);
    }
    throw error;
  }
}
