import { LoginPrompt } from "../login/prompt.ts";
import type { Session } from "../login/session.ts";
import { CurrentToken } from "./current-token.ts";
import { RefusedRequest } from "./refused-request.ts";
import { type Resident, type Residents, residentsOf } from "./residents.ts";

/** What must still be known of a login that has left memory: beside its end and its errors, whose login it was found to be. */
export type LoginRemains = Pick<Session, "lastError" | "disposed"> &
  Pick<CurrentToken, "refusal"> &
  Pick<Session["keeper"], "knownAccount">;

/** What a manager needs of a login while it is in use. Most of it is needed by some logins only, and made when it is. */
export class ActiveLogin implements Resident {
  readonly session: Session;
  readonly token: CurrentToken;
  /** Whether it was used since it was last asked to leave. */
  #isUsed = false;
  readonly #residents: Residents;
  readonly #waitMs: number;
  readonly #onLeave: (remains: LoginRemains) => void;
  #prompt: LoginPrompt | undefined;
  #refused: RefusedRequest | undefined;

  /**
   * @param isHeld whether it stays although nobody else holds it
   * @param waitMs how long a request waits for a user's login, in ms
   * @param onLeave forgets this object
   */
  constructor(session: Session, isHeld: boolean, waitMs: number, onLeave: (remains: LoginRemains) => void) {
    this.session = session;
    this.#residents = residentsOf(session.clock);
    this.#residents.add(this, isHeld);
    this.token = new CurrentToken(session);
    this.#waitMs = waitMs;
    this.#onLeave = onLeave;
  }

  get prompt(): LoginPrompt {
    this.#prompt ??= new LoginPrompt(this.session, this.token, this.#waitMs);
    return this.#prompt;
  }

  get refused(): RefusedRequest {
    this.#refused ??= new RefusedRequest(this.session, this.token, this.prompt);
    return this.#refused;
  }

  /** A call begins: it stays, and others that are left alone leave. */
  touch(): void {
    this.#isUsed = true;
    this.#residents.sweep(this.session.clock.now());
  }

  leave(): boolean {
    const { session, token } = this;
    const isUsed = this.#isUsed;
    this.#isUsed = false;
    const { lastError, disposed } = session;
    if (isUsed || !(disposed || this.#isAtRest)) return false;
    this.#onLeave({ lastError, disposed, refusal: token.refusal, knownAccount: session.keeper.knownAccount });
    return true;
  }

  /**
   * Whether nothing is lost when it leaves memory: tokens are stored, nothing runs, step-ups are forgotten. All other pauses are
   * over by now, or stored.
   */
  get #isAtRest(): boolean {
    const { keeper } = this.session;
    return keeper.isSaved && this.token.isAtRest && !this.#prompt?.running && (this.#refused?.isAtRest ?? true);
  }
}
