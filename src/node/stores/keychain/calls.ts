import { systemClock } from "../../../clock.ts";
import { McpAuthError } from "../../../errors.ts";
import { keychainError } from "./error.ts";

/** The part of `keytar`'s interface that is used. */
export interface Keychain {
  /** `null` when there is none; some keychains say so, too, when they are locked. */
  getPassword(service: string, account: string): Promise<string | null>;
  /** Creates or replaces. */
  setPassword(service: string, account: string, password: string): Promise<void>;
  /** Whether there was one. */
  deletePassword(service: string, account: string): Promise<boolean>;
}

/** The last call that each keychain got. */
const lastCalls = new WeakMap<Keychain, Promise<unknown>>();

/**
 * A keychain whose calls end within a bound, in a typed error when they fail: `keychain_unavailable`, `keychain_locked`,
 * `keychain_refused`, `keychain_timeout`.
 *
 * A process makes one call at a time: each takes a thread of Node's small pool for as long as a user looks at a prompt. A
 * call into a library cannot be taken back: the process ends when the keychain has answered it (libsecret gives up after 25 s,
 * but waits for a prompt as long as it is open).
 */
export class BoundedKeychain implements Keychain {
  /** What it is called in errors. */
  readonly name: string;
  readonly #keychain: Keychain;
  readonly #timeoutMs: number;

  constructor(keychain: Keychain, name: string, timeoutMs: number) {
    this.#keychain = keychain;
    this.name = name;
    this.#timeoutMs = timeoutMs;
  }

  getPassword(service: string, account: string): Promise<string | null> {
    return this.#call(async () => (await this.#keychain.getPassword(service, account)) ?? null);
  }

  setPassword(service: string, account: string, password: string): Promise<void> {
    return this.#call(() => this.#keychain.setPassword(service, account, password));
  }

  deletePassword(service: string, account: string): Promise<boolean> {
    return this.#call(() => this.#keychain.deletePassword(service, account));
  }

  /** Waits for every call that was made, those that were given up included. */
  async settled(): Promise<void> {
    await lastCalls.get(this.#keychain);
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    const answered = new AbortController();
    let givenUp = false;
    const limit = systemClock.sleep(this.#timeoutMs, { signal: answered.signal }).then(() => {
      givenUp = true;
      throw new McpAuthError("keychain_timeout", { detail: `${this.name}, ${this.#timeoutMs} ms` });
    });
    const call = this.settled().then(() => {
      // What nobody waits for any more must not happen later.
      if (!givenUp) return work();
      throw new Error("given up");
    });
    lastCalls.set(
      this.#keychain,
      call.catch(() => {}),
    );
    try {
      return await Promise.race([call, limit]);
    } catch (error) {
      throw error instanceof McpAuthError ? error : keychainError(this.name, error);
    } finally {
      answered.abort();
    }
  }
}
