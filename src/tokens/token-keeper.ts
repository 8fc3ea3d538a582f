import type { Clock } from "../clock.ts";
import { codeOf } from "../errors.ts";
import type { Emit } from "../events.ts";
import { text } from "../http/json.ts";
import type { HeldLock, Store } from "../stores/store.ts";
import { defaultAccount } from "./default-account.ts";
import { asStored, indexKey, readTokens, sameTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** What a keeper works with. */
export interface TokenKeeperOptions {
  store: Store;
  clock: Clock;
  emit: Emit;
  serverUrl: string;
  /** Default: the store's default account at this server. */
  account: string | undefined;
  /** The client that logins must belong to. Default: any. */
  clientId: string | undefined;
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

/** A lock, and what it guards. */
interface Hold {
  readonly key: string;
  readonly held: HeldLock;
  /** What is in the store. */
  stored: TokenRecord | undefined;
  /** What ought to be there: the newest. */
  next: TokenRecord | undefined;
}

/** Longer than a refresh may take, shorter than a request of the SDKs. */
const waitMs = 40_000;
/** The pause between two attempts to write grows to this, in ms. */
const longestPauseMs = 30_000;

/**
 * The one place that reads and writes the tokens of one login.
 *
 * A rotated refresh token that cannot be written (disk full) must not be lost, and nobody else may send the old one:
 * the new one is used from memory, the lock is kept, and writing is tried until it succeeds.
 */
export class TokenKeeper {
  readonly #options: TokenKeeperOptions;
  /** The turn whose tokens could not be written. Its lock is kept until they are, and serves those who come next. */
  #kept: Hold | undefined;
  /** The same, after that lock was lost: whoever has the next one writes it first. */
  #lost: Hold | undefined;
  #account: Promise<string> | undefined;
  #isDisposed = false;
  /** Ends the pause between two attempts to write. */
  #wake = new AbortController();
  /** The last in this object's own line. */
  #line: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();

  constructor(options: TokenKeeperOptions) {
    this.#options = options;
  }

  /** Whose login it is. What the app does not say is read once: an MCP session belongs to one user from beginning to end. */
  account(): Promise<string> {
    const { store, serverUrl, account } = this.#options;
    this.#account ??= (account === undefined ? defaultAccount(store, serverUrl) : Promise.resolve(account)).catch((error: unknown) => {
      this.#account = undefined;
      throw error;
    });
    return this.#account;
  }

  /** The newest login of the server, found without discovery. */
  async load(): Promise<TokenRecord | undefined> {
    const unsaved = this.#lost ?? this.#kept;
    return unsaved && isUnsaved(unsaved) ? unsaved.next : this.stored(await this.account());
  }

  /** The stored login of any account. */
  async stored(account: string): Promise<TokenRecord | undefined> {
    const resource = await this.resource(account);
    return resource === undefined ? undefined : this.read(resource, account);
  }

  /** To which resource the server URL has led this account. */
  async resource(account: string): Promise<string | undefined> {
    const { store, serverUrl } = this.#options;
    return text((await store.get(indexKey(account, serverUrl)))?.resource);
  }

  /** The stored login at a resource, if it is this client's. */
  async read(resource: string, account?: string): Promise<TokenRecord | undefined> {
    const { store, clientId } = this.#options;
    account ??= await this.account();
    const record = await readTokens(store, tokenKey(account, resource));
    return clientId === undefined || record?.client.clientId === clientId ? record : undefined;
  }

  /** Remembers to which resource the server URL leads. */
  async index(resource: string): Promise<void> {
    const { store, serverUrl } = this.#options;
    const account = await this.account();
    if ((await this.resource(account)) !== resource) await store.set(indexKey(account, serverUrl), { v: 1, resource });
  }

  /**
   * Runs `action` with the newest record while nobody else, in any process, changes it.
   *
   * @param known the login in memory: the newest, and stored again, when the store was lost while it was in use
   * @throws McpAuthError `lock_timeout`, `store_failed`, `invalid_record`, and what `action` throws.
   */
  locked<T>(resource: string, action: (turn: Turn) => Promise<T>, known?: TokenRecord): Promise<T> {
    return this.#inLine(async () => {
      const key = tokenKey(await this.account(), resource);
      return this.#kept?.key === key ? action(this.#turn(this.#kept)) : this.#acquire(key, action, known);
    });
  }

  /** Tries once more to write what is unsaved, then lets go. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    this.#wake.abort();
    await this.#saving;
  }

  #inLine<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#line.then(action);
    this.#line = turn.catch(() => {});
    return turn;
  }

  #acquire<T>(key: string, action: (turn: Turn) => Promise<T>, known?: TokenRecord): Promise<T> {
    const outcome = Promise.withResolvers<T>();
    const { store } = this.#options;
    const holding = store.withLock(
      `refresh/${key}`,
      async (held) => {
        try {
          const stored = await readTokens(store, key);
          const hold = { key, held, stored, next: stored };
          await this.#restore(hold, known);
          outcome.resolve(await action(this.#turn(hold)));
        } catch (error) {
          outcome.reject(error);
        }
        // The callers have their tokens; the lock stays until they are stored.
        if (this.#kept?.held === held) {
          this.#saving = this.#keepSaving(this.#kept);
          await this.#saving;
        }
        return held;
      },
      { waitMs },
    );
    holding.then((held) => {
      if (this.#lost?.held === held) this.#saving = this.#saveUnderNextLock(key);
    }, outcome.reject);
    return outcome.promise;
  }

  #turn(hold: Hold): Turn {
    const { key, held, next: current } = hold;
    const { store, clock } = this.#options;
    return {
      current,
      markRefresh: async () => {
        // What is stored has been spent already: there is nothing to protect by writing first.
        if (current && !isUnsaved(hold)) await held.set(key, asStored({ ...current, refreshStartedAt: clock.now() }));
      },
      isReplaced: async () => {
        const found = await readTokens(store, key);
        return !sameTokens(hold.stored, found) && !(found === undefined && held.restarted);
      },
      save: async (next) => {
        const wasUnsaved = isUnsaved(hold);
        hold.next = next;
        try {
          // Where nothing is stored there is nothing to delete, and no disk that could be too full for it.
          if (isUnsaved(hold)) await this.#write(hold);
          if (wasUnsaved) this.#saved();
        } catch (error) {
          if (!wasUnsaved) this.#tell(error);
          this.#kept = hold;
        }
      },
    };
  }

  #tell(error: unknown): void {
    const code = codeOf(error) ?? "store_failed";
    this.#options.emit({ type: "tokens.unsaved", code });
  }

  /** Writes what is newer than the store: what a lost lock has left, unless somebody else has changed the login; all of a lost store. */
  async #restore(hold: Hold, known: TokenRecord | undefined): Promise<void> {
    const { key, held, stored } = hold;
    const { save } = this.#turn(hold);
    const isEmptied = !stored && held.restarted;
    const lost = this.#lost;
    if (lost?.key === key) {
      this.#lost = undefined;
      if (isEmptied || sameTokens(stored, lost.stored)) await save(lost.next);
      if (!isUnsaved(hold)) this.#saved();
    } else if (known && isEmptied) await save(known);
  }

  async #keepSaving(kept: Hold): Promise<void> {
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, longestPauseMs)) {
      if (isUnsaved(kept) && !this.#isDisposed) await this.#pause(waitMs);
      // In line: a refresh may be using this lock right now, and whoever comes after this turn takes the lock anew.
      const isOver = await this.#inLine(async () => {
        try {
          if (isUnsaved(kept)) {
            await this.#write(kept);
            this.#saved();
          }
          this.#kept = undefined;
          return true;
        } catch (error) {
          if (codeOf(error) !== "lock_lost") return this.#isDisposed;
          this.#lost = kept;
          this.#kept = undefined;
          return true;
        }
      });
      if (isOver) return;
    }
  }

  async #saveUnderNextLock(key: string): Promise<void> {
    for (let waitMs = 100; this.#lost; waitMs = Math.min(waitMs * 2, longestPauseMs)) {
      await this.#inLine(() => this.#acquire(key, async () => {})).catch(() => {});
      if (this.#isDisposed) return;
      if (this.#lost) await this.#pause(waitMs);
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
    if (next) await held.set(key, asStored(next));
    else await held.delete(key);
    hold.stored = next;
  }

  #saved(): void {
    this.#wake.abort();
    this.#options.emit({ type: "tokens.saved" });
  }
}

function isUnsaved({ stored, next }: Hold): boolean {
  return stored !== next;
}
