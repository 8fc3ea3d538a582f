import { abortable, SingleFlight } from "../async.ts";
import type { Clock } from "../clock.ts";
import type { CredentialRequest } from "../credential.ts";
import { bearerToken } from "../transports/bearer.ts";

/** The pauses before a token that was just issued is sent again, in ms. */
const pausesMs = [500, 2000];

/**
 * Waits until a token that was just issued is known everywhere: a protected server may hear of it later than this program,
 * or its clock may be a little behind. All requests share the pauses.
 */
export class Settling {
  readonly #clock: Clock;
  #token: string | undefined;
  /** How many pauses this token has had. */
  #begun = 0;
  #pausing = new SingleFlight<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits for a pause, before a refused token is sent again. A request that was refused late, so that it may have been sent
   * before a pause that is over, is sent again at once.
   *
   * @param request the refused request, which is sent again twice at most
   * @returns whether to send it again
   */
  async pause(token: string, { refused, signal }: CredentialRequest): Promise<boolean> {
    if (this.#token !== token) {
      this.#token = token;
      this.#begun = 0;
      this.#pausing = new SingleFlight();
    }
    // Whoever does not say what the request was refused with has sent it after the last pause.
    const earlier = refused?.filter((used) => bearerToken(used) === token).length ?? this.#begun;
    const ms = pausesMs[earlier];
    if (ms === undefined) return false;
    if (this.#pausing.running || earlier === this.#begun) {
      if (!this.#pausing.running) this.#begun++;
      await abortable(
        this.#pausing.run(() => this.#clock.sleep(ms)),
        signal,
      );
    }
    return true;
  }
}
