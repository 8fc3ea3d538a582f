import { finished } from "../async.ts";
import type { Clock } from "../clock.ts";
import { queryOf } from "../discovery/server-name.ts";
import { codeOf } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { HeldLock, StoredRecord } from "../stores/store.ts";
import { lockTimeoutFor } from "./attempts.ts";
import { takeOverLogin } from "./former-key.ts";
import { LoginRecords, type LoginRecordsOptions } from "./login-records.ts";
import { asStored, sameTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** What a keeper works with. */
export interface TokenKeeperOptions extends LoginRecordsOptions {
  clock: Clock;
  emit: Emit;
  /** Of the managers' options. */
  requestTimeout?: number | undefined;
}

/** A login under its lock: nobody else, in any process, changes it meanwhile. */
export interface LockedLogin {
  /** The newest record. */
  readonly current: TokenRecord | undefined;
  /**
   * Durable note that the refresh token is about to be sent: a full disk is found before anything is spent.
   *
   * @throws McpAuthError `store_failed` or whatever the store throws.
   */
  markRefresh(): Promise<void>;
  /** @throws McpAuthError `lock_lost` when the lock is known to be lost: what is sent now, another holder may have sent. */
  check(): void;
  /** Whether somebody without the lock has deleted or replaced the login meanwhile. */
  isReplaced(): Promise<boolean>;
  /**
   * Remembers more about the same tokens. What cannot be written is not: the login is as good without.
   *
   * @returns the record with it
   */
  note(facts: Pick<TokenRecord, "refreshHistory" | "refreshStartedAt" | "bearer">): Promise<TokenRecord | undefined>;
  /** Stores the record or deletes it. Never fails: what cannot be stored is kept in memory and written later. */
  save(next: TokenRecord | undefined): Promise<void>;
}

/** A lock, and what it guards. */
interface Hold {
  readonly key: string;
  readonly held: HeldLock;
  /** What is in the store. */
  stored: TokenRecord | undefined;
  /** What ought to be there: the newest. */
  next: TokenRecord | undefined;
  /** What may be in the store: it was written, and the answer to that did not come. */
  perhaps: TokenRecord[];
}

/**
 * The states of a login:
 *
 * | state  | the newest tokens      | its lock                    | `locked()`                    | leaves the state            |
 * | ------ | ---------------------- | --------------------------- | ----------------------------- | --------------------------- |
 * | saved  | are in the store       | is free                     | takes the lock                | a write fails: kept         |
 * | kept   | are in memory alone    | is held until they are saved | uses the lock that is held    | written: saved; lock lost: lost |
 * | lost   | are in memory alone    | was lost                    | takes the lock, writes first  | written, or changed by others: saved |
 */
interface Unsaved {
  readonly state: "kept" | "lost";
  readonly hold: Hold;
}

/** The pause between two attempts to write grows to this, in ms. */
const longestPauseMs = 30_000;

/**
 * The one place that changes the tokens of a login.
 *
 * A rotated refresh token that cannot be written (disk full) must not be lost, and nobody else may send the old one:
 * the new one is used from memory, the lock is kept, and writing is tried until it succeeds.
 */
export class TokenKeeper extends LoginRecords {
  readonly #options: TokenKeeperOptions;
  /** By the key of the record; a login that is not here is saved. */
  readonly #unsaved = new Map<string, Unsaved>();
  #isDisposed = false;
  /** Ends the pause between two attempts to write. */
  #wake = new AbortController();
  /** All that is done with logins here, one after the other: its last. */
  #queue: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();

  constructor(options: TokenKeeperOptions) {
    super(options);
    this.#options = options;
  }

  /** Whether all that is known here is in the store. */
  get isSaved(): boolean {
    return this.#unsaved.size === 0;
  }

  override async newest(): Promise<TokenRecord | undefined> {
    const newest = [...this.#unsaved.values()].findLast(({ hold }) => isUnsaved(hold));
    return newest ? newest.hold.next : super.newest();
  }

  /** As {@link load}, after a refresh that another process has begun. @throws McpAuthError `lock_timeout`, and as `load` */
  async loadSettled(): Promise<TokenRecord | undefined> {
    const record = await this.load();
    if (record?.refreshStartedAt === undefined) return record;
    // The mark of a process that died is no reason to wait: its lock is free.
    await this.locked(record.resource, async () => {});
    return this.load();
  }

  /**
   * Runs `action` with the newest record while nobody else, in any process, changes it.
   *
   * @param known the login in memory: the newest, and stored again, when the store was lost while it was in use
   * @throws McpAuthError `lock_timeout`, `store_failed`, `invalid_record`, and what `action` throws.
   */
  locked<T>(resource: string, action: (login: LockedLogin) => Promise<T>, known?: TokenRecord): Promise<T> {
    return this.#inQueue(async () => {
      const account = await this.account();
      const key = await this.key(account, resource);
      const unsaved = this.#unsaved.get(key);
      if (unsaved?.state === "kept") return action(this.#locked(unsaved.hold));
      await this.takeOver(account, resource).catch((error: unknown) => {
        // A new login needs no old one.
        if (known) throw error;
      });
      return this.#acquire(key, action, known);
    });
  }

  /** Makes a login that a former version has stored this server's own. @throws McpAuthError `lock_timeout`, `store_failed` */
  async takeOver(account: string, resource: string): Promise<void> {
    const { store, serverName, requestTimeout } = this.#options;
    const [from, to] = [tokenKey(account, resource), await this.key(account, resource)];
    const query = queryOf(await serverName());
    const index = (found: string) => this.index(found, account);
    await takeOverLogin({ store, from, to, query, index }, { lockTimeout: lockTimeoutFor(requestTimeout) });
  }

  /** Deletes the record that {@link former} gave, after the new login has its tokens. One that was refreshed meanwhile is in use. */
  async deleteFormer(former: TokenRecord | undefined): Promise<void> {
    if (!former) return;
    await this.locked(former.resource, async ({ current, save }) => {
      if (sameTokens(current, former)) await save(undefined);
    });
  }

  /** Tries once more to write what is unsaved, then lets go. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    this.#wake.abort(finished);
    await this.#saving;
  }

  #inQueue<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(action);
    this.#queue = done.catch(() => {});
    return done;
  }

  #acquire<T>(key: string, action: (login: LockedLogin) => Promise<T>, known?: TokenRecord): Promise<T> {
    const outcome = Promise.withResolvers<T>();
    const { store } = this.#options;
    const holding = store.withLock(
      `refresh/${key}`,
      async (held) => {
        try {
          const stored = await this.readAt(key);
          const hold: Hold = { key, held, stored, next: stored, perhaps: [] };
          await this.#restore(hold, known);
          outcome.resolve(await action(this.#locked(hold)));
        } catch (error) {
          outcome.reject(error);
        }
        // The callers have their tokens; the lock stays until they are stored.
        const unsaved = this.#unsaved.get(key);
        if (unsaved?.hold.held === held) {
          this.#saving = this.#keepSaving(unsaved.hold);
          await this.#saving;
        }
        return held;
      },
      { lockTimeout: lockTimeoutFor(this.#options.requestTimeout) },
    );
    holding.then((held) => {
      const unsaved = this.#unsaved.get(key);
      if (unsaved?.state === "lost" && unsaved.hold.held === held) this.#saving = this.#saveUnderNextLock(key);
    }, outcome.reject);
    return outcome.promise;
  }

  #locked(hold: Hold): LockedLogin {
    const { key, held, next: current } = hold;
    const { clock } = this.#options;
    return {
      current,
      markRefresh: async () => {
        // What is stored has been spent already: there is nothing to protect by writing first.
        if (current && !isUnsaved(hold)) await held.set(key, await this.#own({ ...current, refreshStartedAt: clock.now() }));
      },
      check: () => held.check?.(),
      isReplaced: async () => {
        const found = await this.readAt(key);
        return !isOwn(hold, found) && !(found === undefined && held.restarted);
      },
      note: async (facts) => {
        if (!current) return current;
        const noted = { ...current, ...facts };
        if (isUnsaved(hold)) return noted;
        try {
          await held.set(key, await this.#own(noted));
          hold.stored = noted;
          hold.next = noted;
        } catch {
          // The next process finds it out anew.
        }
        return noted;
      },
      save: async (next) => {
        const wasUnsaved = isUnsaved(hold);
        hold.next = next;
        try {
          // Where nothing is stored there is nothing to delete, and no disk that could be too full for it.
          if (isUnsaved(hold)) await this.#write(hold);
          if (wasUnsaved) this.#reportSaved();
        } catch (error) {
          if (!wasUnsaved) this.#options.emit({ type: "tokens.unsaved", code: codeOf(error) ?? "store_failed" });
          this.#unsaved.set(key, { state: "kept", hold });
        }
      },
    };
  }

  /** Writes what is newer than the store: what a lost lock has left, unless somebody else has changed the login; all of a lost store. */
  async #restore(hold: Hold, known: TokenRecord | undefined): Promise<void> {
    const { key, held, stored } = hold;
    const { save } = this.#locked(hold);
    const isEmptied = !stored && held.restarted;
    const lost = this.#unsaved.get(key);
    if (lost) {
      this.#unsaved.delete(key);
      if (isEmptied || isOwn(lost.hold, stored)) await save(lost.hold.next);
      if (!isUnsaved(hold)) this.#reportSaved();
    } else if (known && isEmptied) await save(known);
  }

  /** Kept: writes under the lock that is held, until it succeeds or the lock is lost. */
  async #keepSaving(hold: Hold): Promise<void> {
    const { key } = hold;
    for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      if (isUnsaved(hold) && !this.#isDisposed) await this.#pause(pauseMs);
      // In the queue: a refresh may be using this lock right now, and the next caller takes the lock anew.
      const isOver = await this.#inQueue(async () => {
        try {
          if (isUnsaved(hold)) {
            await this.#write(hold);
            this.#reportSaved();
          }
          this.#unsaved.delete(key);
          return true;
        } catch (error) {
          if (codeOf(error) !== "lock_lost") return this.#isDisposed;
          this.#unsaved.set(key, { state: "lost", hold });
          return true;
        }
      });
      if (isOver) return;
    }
  }

  /** Lost: takes the lock anew, which writes first, until it succeeds. */
  async #saveUnderNextLock(key: string): Promise<void> {
    const isLost = () => this.#unsaved.get(key)?.state === "lost";
    for (let pauseMs = 100; isLost(); pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      await this.#inQueue(() => this.#acquire(key, async () => {})).catch(() => {});
      if (this.#isDisposed) return;
      if (isLost()) await this.#pause(pauseMs);
    }
  }

  async #pause(ms: number): Promise<void> {
    this.#wake = new AbortController();
    await this.#options.clock.sleep(ms, { signal: this.#wake.signal, background: true }).catch(() => {});
  }

  /** Writes the newest state. @throws McpAuthError what the store throws; the record has not changed then */
  async #write(hold: Hold): Promise<void> {
    const { key, held, next, stored } = hold;
    // First, because nothing shows later that it is missing: a login that is stored but not found is lost with this process.
    if (next && !stored) await this.index(next.resource);
    if (next) hold.perhaps.push(next);
    if (next) await held.set(key, await this.#own(next));
    else await held.delete(key);
    hold.stored = next;
    hold.perhaps = [];
  }

  /** For the store: says for which query of the server's URL it is. */
  async #own(record: TokenRecord): Promise<StoredRecord> {
    return asStored({ ...record, query: queryOf(await this.#options.serverName()) });
  }

  #reportSaved(): void {
    this.#wake.abort(finished);
    this.#options.emit({ type: "tokens.saved" });
  }
}

/** Whether nobody else has changed what is in the store. */
function isOwn({ stored, perhaps }: Hold, found: TokenRecord | undefined): boolean {
  return sameTokens(stored, found) || perhaps.some((written) => sameTokens(written, found));
}

function isUnsaved({ stored, next }: Hold): boolean {
  return stored !== next;
}
