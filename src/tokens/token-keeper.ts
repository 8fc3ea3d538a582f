import type { Clock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { HeldLock, LockOptions, Store } from "../stores/store.ts";
import { asStored, indexKey, readTokens, sameTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** What a keeper works with. */
export interface TokenKeeperOptions {
  store: Store;
  clock: Clock;
  emit: Emit;
  serverUrl: string;
  account: string;
}

/** One holder's turn with a login: nobody else, in any process, changes it meanwhile. */
export interface Turn {
  /** The newest record. */
  readonly current: TokenRecord | undefined;
  /**
   * Durable note that the refresh token is about to be sent: a full disk is found before anything is spent.
   *
   * @throws McpAuthError `store_failed` or whatever the store throws.
   */
  markRefresh(): Promise<void>;
  /** Whether somebody without the lock has deleted or replaced the login meanwhile. */
  isReplaced(): Promise<boolean>;
  /** Stores the record or deletes it. Never fails: what cannot be stored is kept in memory and written later. */
  save(next: TokenRecord | undefined): Promise<void>;
}

/** Longer than a refresh may take, shorter than a request of the SDKs. */
const defaultWaitMs = 40_000;

/**
 * The one place that reads and writes the tokens of one login.
 *
 * A rotated refresh token that cannot be written (disk full) must not be lost, and nobody else may send the old one:
 * the new one is used from memory, the lock is kept, and writing is tried until it succeeds.
 */
export class TokenKeeper {
  readonly #options: TokenKeeperOptions;
  /** What could not be written yet, what is stored instead, and the lock that guards it. */
  #unsaved: { key: string; held: HeldLock; stored: TokenRecord | undefined; next: TokenRecord | undefined } | undefined;
  readonly #disposed = new AbortController();
  /** The last in this object's own line. */
  #line: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();

  constructor(options: TokenKeeperOptions) {
    this.#options = options;
  }

  /** The stored login of the server, found without discovery. */
  async load(): Promise<TokenRecord | undefined> {
    if (this.#unsaved) return this.#unsaved.next;
    const { store, serverUrl, account } = this.#options;
    const index = await store.get(indexKey(serverUrl));
    return typeof index?.resource === "string" ? readTokens(store, tokenKey(account, index.resource)) : undefined;
  }

  /** Remembers to which resource the server URL leads. */
  async index(resource: string): Promise<void> {
    const key = indexKey(this.#options.serverUrl);
    if ((await this.#options.store.get(key))?.resource !== resource) await this.#options.store.set(key, { v: 1, resource });
  }

  /**
   * Runs `action` with the newest record while nobody else, in any process, changes it.
   *
   * @throws McpAuthError `lock_timeout`, `store_failed`, `invalid_record`, and what `action` throws.
   */
  locked<T>(resource: string, action: (turn: Turn) => Promise<T>, options?: LockOptions): Promise<T> {
    const key = tokenKey(this.#options.account, resource);
    return this.#inLine(() => {
      const kept = this.#unsaved;
      return kept?.key === key ? action(this.#turn(key, kept.held, kept.stored, kept.next)) : this.#acquire(key, action, options);
    });
  }

  /** Tries once more to write what is unsaved, then lets go. */
  async dispose(): Promise<void> {
    this.#disposed.abort();
    await this.#saving;
  }

  #inLine<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#line.then(action);
    this.#line = turn.catch(() => {});
    return turn;
  }

  #acquire<T>(key: string, action: (turn: Turn) => Promise<T>, options?: LockOptions): Promise<T> {
    const outcome = Promise.withResolvers<T>();
    const { store } = this.#options;
    const holding = store.withLock(
      `refresh/${key}`,
      async (held) => {
        try {
          const current = await readTokens(store, key);
          outcome.resolve(await action(this.#turn(key, held, current, current)));
        } catch (error) {
          outcome.reject(error);
        }
        // The callers have their tokens; the lock stays until they are stored.
        if (this.#unsaved?.held !== held) return;
        this.#saving = this.#keepSaving();
        await this.#saving;
      },
      { waitMs: defaultWaitMs, ...options },
    );
    holding.then(() => this.#saveUnderNewLock(), outcome.reject);
    return outcome.promise;
  }

  #turn(key: string, held: HeldLock, stored: TokenRecord | undefined, current: TokenRecord | undefined): Turn {
    return {
      current,
      markRefresh: async () => {
        // What is stored has been spent already: there is nothing to protect by writing first.
        if (current && stored === current) await held.set(key, asStored({ ...current, refreshStartedAt: this.#options.clock.now() }));
      },
      isReplaced: async () => !sameTokens(stored, await readTokens(this.#options.store, key)),
      save: async (next) => {
        try {
          await write(key, held, next);
          this.#unsaved = undefined;
        } catch (error) {
          if (!this.#unsaved) this.#tell(error);
          this.#unsaved = { key, held, stored, next };
        }
      },
    };
  }

  #tell(error: unknown): void {
    const code = error instanceof McpAuthError ? error.code : "store_failed";
    this.#options.emit({ type: "tokens.unsaved", code });
  }

  async #keepSaving(): Promise<void> {
    const { clock } = this.#options;
    for (let waitMs = 100; this.#unsaved; waitMs = Math.min(waitMs * 2, 30_000)) {
      const sleeping = clock.sleep(waitMs, { signal: this.#disposed.signal, background: true });
      const last = await sleeping.then(
        () => false,
        () => true,
      );
      // In line: a refresh may be using this lock right now.
      const lost = await this.#inLine(async () => {
        const unsaved = this.#unsaved;
        if (!unsaved) return false;
        try {
          await write(unsaved.key, unsaved.held, unsaved.next);
          this.#saved();
          return false;
        } catch (error) {
          return error instanceof McpAuthError && error.code === "lock_lost";
        }
      });
      if (lost || last) return;
    }
  }

  /** After a lock was lost with something unsaved: written only if nobody else has changed the login meanwhile. */
  #saveUnderNewLock(): void {
    const unsaved = this.#unsaved;
    if (!unsaved || this.#disposed.signal.aborted) return;
    const saving = this.#inLine(() =>
      this.#acquire(unsaved.key, async (turn) => {
        const { next } = this.#unsaved ?? unsaved;
        this.#unsaved = undefined;
        if (sameTokens(turn.current, unsaved.stored)) await turn.save(next);
        if (!this.#unsaved) this.#saved();
      }),
    );
    saving.catch((error: unknown) => this.#tell(error));
  }

  #saved(): void {
    this.#unsaved = undefined;
    this.#options.emit({ type: "tokens.saved" });
  }
}

async function write(key: string, held: HeldLock, next: TokenRecord | undefined): Promise<void> {
  if (next) await held.set(key, asStored(next));
  else await held.delete(key);
}
