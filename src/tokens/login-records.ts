import { unless } from "../errors.ts";
import { text } from "../http/json.ts";
import type { Store } from "../stores/store.ts";
import { defaultAccount } from "./default-account.ts";
import { indexKey, loginOf, readTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** Whose logins at which server. */
export interface LoginRecordsOptions {
  store: Store;
  serverUrl: string;
  /** Default: the store's default account at this server. */
  account: string | undefined;
  /** The client that logins must belong to. Default: any. */
  clientId: string | undefined;
}

/** The stored logins at one server: an index leads from account and server URL to the resource, whose record has the tokens. */
export class LoginRecords {
  readonly #options: LoginRecordsOptions;
  #account: Promise<string> | undefined;

  constructor(options: LoginRecordsOptions) {
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

  /** The login of the account, found without discovery. */
  async load(): Promise<TokenRecord | undefined> {
    return loginOf(await this.newest());
  }

  /** As {@link load}, also where superseded tokens are all that is left. */
  async newest(): Promise<TokenRecord | undefined> {
    return this.stored(await this.account());
  }

  /** The stored record of any account, also where superseded tokens are all that is left. */
  async stored(account: string): Promise<TokenRecord | undefined> {
    const resource = await this.resource(account);
    return resource === undefined ? undefined : this.#read(resource, account);
  }

  /** To which resource the server URL has led this account. */
  async resource(account: string): Promise<string | undefined> {
    const { store, serverUrl } = this.#options;
    return text((await store.get(indexKey(account, serverUrl)))?.resource);
  }

  /** The stored login at a resource, if it is this client's. */
  async read(resource: string): Promise<TokenRecord | undefined> {
    return loginOf(await this.#read(resource, await this.account()));
  }

  async #read(resource: string, account: string): Promise<TokenRecord | undefined> {
    const { store, clientId } = this.#options;
    const record = await readTokens(store, tokenKey(account, resource));
    return clientId === undefined || record?.client.clientId === clientId ? record : undefined;
  }

  /**
   * What the server URL has led to so far, where a new login is for another resource. It is not replaced where another
   * server URL leads to it, too.
   */
  async former(resource: string): Promise<TokenRecord | undefined> {
    const { store, serverUrl } = this.#options;
    const account = await this.account();
    const former = await this.resource(account);
    if (former === undefined || former === resource) return undefined;
    for (const key of await store.keys(indexKey(account, ""))) {
      if (key !== indexKey(account, serverUrl) && (await store.get(key))?.resource === former) return undefined;
    }
    return unless("invalid_record", this.#read(former, account));
  }

  /** Remembers to which resource the server URL leads. */
  async index(resource: string): Promise<void> {
    const { store, serverUrl } = this.#options;
    const account = await this.account();
    if ((await this.resource(account)) !== resource) await store.set(indexKey(account, serverUrl), { v: 1, resource });
  }
}
