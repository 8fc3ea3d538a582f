import { abortable } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { isTransient } from "../errors.ts";
import { insufficiency, reportEnd, StepUpMemory } from "../login/step-up.ts";
import type { CachedToken } from "../tokens/cached-token.ts";
import { remember } from "../tokens/session.ts";
import type { ObtainToken } from "./obtain.ts";
import type { MachineRecord } from "./record.ts";
import type { MachineSession } from "./session.ts";

/** Names the grant for the backoff: a refusal counts for the program's credentials, whatever the scopes. */
export const ownCredentials = "own credentials";

/** @throws McpAuthError the authorization server's final refusal, while it is too soon to ask again */
export function throwIfPaused(token: CachedToken<MachineRecord>): void {
  if (token.refusal && !token.backoff.mayRefresh(ownCredentials, "expired")) throw token.refusal;
}

/** Requests tokens with more scopes, within limits. Calls that lack the same scopes share one request. */
export class ScopeStepUp {
  readonly #session: MachineSession;
  readonly #token: CachedToken<MachineRecord>;
  readonly #loadObtainToken: () => Promise<ObtainToken>;
  /** Running requests, by scopes. */
  readonly #running = new Map<string, Promise<void>>();
  readonly #memory = new StepUpMemory();

  constructor(session: MachineSession, token: CachedToken<MachineRecord>, loadObtainToken: () => Promise<ObtainToken>) {
    this.#session = session;
    this.#token = token;
    this.#loadObtainToken = loadObtainToken;
  }

  /** Gets a token with the scopes that the challenge names. @throws McpAuthError why they are not granted */
  async onInsufficientScope(challenge: Challenge, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const scopes = splitScope(challenge.scope).sort();
    const key = scopes.join(" ");
    const running = this.#running.get(key) ?? this.#begin(scopes, `${key}\n${request.operation}`);
    if (!running) {
      const { server: serverUrl, emit } = this.#session;
      const details = { serverUrl, issuer: this.#token.record?.issuer };
      emit({ type: "step-up.failed", scopes, code: "insufficient_scope" });
      remember(this.#session, insufficiency(challenge, details));
      return "give-up";
    }
    await abortable(running, request.signal);
    return "retry";
  }

  /** Resolves when no request is running. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  /** @returns `undefined` when no attempt is left. @throws McpAuthError an earlier refusal of these scopes */
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
    const pending = [this.#token.running, ...this.#running.values()];
    const requested = this.#request(scopes, pending);
    reportEnd(
      emit,
      scopes,
      requested.then(() => this.#token.record),
    );
    const running = requested
      .catch((error: unknown) => {
        if (isTransient(error)) this.#memory.undo(cause);
        throw error;
      })
      .finally(() => this.#running.delete(key));
    // A failure that no caller waits for must not be an unhandled rejection.
    running.catch(() => {});
    this.#running.set(key, running);
    return running;
  }

  /** @param pending running requests: a refusal of theirs counts for this request, too */
  async #request(scopes: readonly string[], pending: readonly unknown[]): Promise<void> {
    const { backoff, record: known } = this.#token;
    await Promise.allSettled(pending);
    throwIfPaused(this.#token);
    backoff.throwIfBusy();
    const obtainToken = await this.#loadObtainToken();
    const { record, error } = await obtainToken(known, { reason: "ahead" }, { scopes }).catch((fault: unknown) => {
      if (isTransient(fault)) backoff.onFault(fault);
      throw fault;
    });
    // `store`, not `refresh`: if the server refuses this token, one more refresh is worth a try.
    if (!error) return this.#token.use(record, "store");
    if (error.code === "insufficient_scope") this.#memory.refuse(scopes, error, this.#session.clock.now());
    else {
      // An error that is not about scopes would end any other token request, too.
      this.#token.refusal = error;
      backoff.onRefusal(ownCredentials, false);
    }
    throw error;
  }
}
