import { systemClock } from "../../../clock.ts";
import { McpAuthError } from "../../../errors.ts";
import { keychainError } from "./error.ts";

/** The part of `keytar`'s interface that is used. */
export interface Keychain {
  /** `null` when there is none. Some locked keychains return it, too. */
  getPassword(service: string, account: string): Promise<string | null>;
  /** Creates or replaces. */
  setPassword(service: string, account: string, password: string): Promise<void>;
  /** Whether there was one. */
  deletePassword(service: string, account: string): Promise<boolean>;
}

/** The last call to each keychain. */
const lastCalls = new WeakMap<Keychain, Promise<unknown>>();

/**
 * A keychain with a time limit for each call, and typed errors: `keychain_unavailable`, `keychain_locked`,
 * `keychain_refused`, `keychain_timeout`.
 *
 * A process makes one call at a time: each call occupies a thread of Node's small pool while a user looks at a prompt. A call
 * into a library cannot be cancelled: the process ends only after the keychain has answered (libsecret gives up after 25 s, but
 * waits as long as a prompt is open).
 */
export class BoundedKeychain implements Keychain {
  /** Its name in errors. */
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

  /** Waits for all calls, also those that exceeded their time limit. */
  async settled(): Promise<void> {
    await lastCalls.get(this.#keychain);
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    const answered = new AbortController();
    let givenUp = false;
    const limit = systemClock.sleep(this.#timeoutMs, { signal: answered.signal, limit: true }).then(() => {
      givenUp = true;
      throw new McpAuthError("keychain_timeout", { detail: `${this.name}, ${this.#timeoutMs} ms` });
    });
    const call = this.settled().then(() => {
      // A call whose caller has given up must not be made later.
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
