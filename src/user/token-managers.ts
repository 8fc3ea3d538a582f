import { McpAuthError } from "../errors.ts";
import { idleLoginOptions } from "../login/options.ts";
import { createLoginAccess } from "../login/session.ts";
import { checkOptions, needed, type Rules, text } from "../options.ts";
import { MemoryStore } from "../stores/memory.ts";
import { checkAccount } from "../tokens/session.ts";
import { AccountOptions, type SharedAccess } from "./account-options.ts";
import { type TokenManagerOptions, tokenManagerRules } from "./options.ts";
import { TokenManager } from "./token-manager.ts";

/** Options of {@link TokenManagers}: those of `TokenManager`, for all accounts. */
export interface TokenManagersOptions extends Omit<TokenManagerOptions, "account"> {}

export const tokenManagersRules = (): Rules<TokenManagersOptions> => {
  const { account: _, ...rules } = tokenManagerRules();
  return rules;
};

/**
 * The logins of many users at one protected server, in one process: a {@link TokenManager} for each account.
 *
 * Managers share what belongs to the server: checked options, store, metadata. A login that nobody has used for 5 to 10 minutes
 * leaves memory, not the store: its next call reads it from there. What is not stored yet, runs, or must be waited for stays.
 *
 * It has no login of its own, so that no request can go out in the name of a user who was not named.
 *
 * @example
 * ```ts
 * const users = new TokenManagers({ serverUrl: "https://mcp.example.com/mcp", store });
 * const auth = users.forAccount("user-42");
 * await client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch: auth.fetch }));
 * ```
 */
export class TokenManagers {
  readonly #access: SharedAccess;
  /** Whoever holds a manager, or uses it, keeps it. */
  readonly #managers = new Map<string, WeakRef<TokenManager>>();
  readonly #collected = new FinalizationRegistry<string>((account) => {
    // There may be another one by now.
    if (!this.#managers.get(account)?.deref()) this.#managers.delete(account);
  });

  /** @throws McpAuthError `invalid_url`, `insecure_url`, `invalid_option` */
  constructor(options: TokenManagersOptions) {
    checkOptions(options, tokenManagersRules(), idleLoginOptions);
    const shared = options.store ? options : { ...options, store: new MemoryStore() };
    const onDispose = (account: string) => void this.#managers.delete(account);
    this.#access = { ...createLoginAccess(shared), options: shared, onDispose, disposed: undefined };
  }

  /**
   * The manager of a user's login. Whoever asks for the same account gets the same manager, as long as it is in use or held by
   * somebody: its callers share one login and one refresh.
   *
   * @param account a name for the user that never changes and that the user cannot choose, such as the ID in the app's database;
   *   no slashes
   * @throws McpAuthError `invalid_option`, `disposed`
   */
  forAccount(account: string): TokenManager {
    checkOptions({ account }, { account: needed(text) });
    checkAccount(account);
    if (this.#access.disposed) throw this.#access.disposed;
    const known = this.#managers.get(account)?.deref();
    if (known) return known;
    const manager = new TokenManager(new AccountOptions(this.#access, account));
    this.#managers.set(account, new WeakRef(manager));
    this.#collected.register(manager, account);
    return manager;
  }

  /** Disposes of all managers: waits for every refresh in flight until it is stored, and ends logins in progress. */
  async dispose(): Promise<void> {
    this.#access.disposed ??= new McpAuthError("disposed", { serverUrl: this.#access.server });
    await Promise.all(Array.from(this.#managers.values(), (manager) => manager.deref()?.dispose()));
  }

  /** For `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
