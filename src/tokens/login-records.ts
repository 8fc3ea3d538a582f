import { formerName, isOfQuery, nameInKeys, queryOf } from "../discovery/server-name.ts";
import { unless } from "../errors.ts";
import { text } from "../http/json.ts";
import type { Store } from "../stores/store.ts";
import { defaultAccount } from "./default-account.ts";
import { indexKey, loginOf, readTokens, type TokenRecord, tokenKey } from "./token-record.ts";

/** Whose logins at which server. */
export interface LoginRecordsOptions {
  store: Store;
  /** The server's name in keys. */
  serverName: () => Promise<string>;
  /** Default: the store's default account at this server. */
  account: string | undefined;
  /** The client that logins must belong to. Default: any. */
  clientId: string | undefined;
}

/** The stored logins at one server: an index leads from account and server URL to the resource, whose record has the tokens. */
export class LoginRecords {
  readonly #options: LoginRecordsOptions;
  #account: Promise<string> | undefined;
  /** Whose login it is, once that is known. */
  knownAccount: string | undefined;

  constructor(options: LoginRecordsOptions) {
    this.#options = options;
  }

  /** Whose login it is. What the app does not say is read once: an MCP session belongs to one user from beginning to end. */
  account(): Promise<string> {
    const { store, serverName, account } = this.#options;
    const find = async () => {
      this.knownAccount ??= account ?? (await defaultAccount(store, await serverName()));
      return this.knownAccount;
    };
    this.#account ??= find().catch((error: unknown) => {
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
    const name = await this.#options.serverName();
    const found = await this.#ledTo(account, name);
    return found ?? (queryOf(name) ? this.#ledTo(account, formerName(name)) : undefined);
  }

  /** The stored login at a resource, if it is this client's. */
  async read(resource: string): Promise<TokenRecord | undefined> {
    return loginOf(await this.#read(resource, await this.account()));
  }

  async #read(resource: string, account: string): Promise<TokenRecord | undefined> {
    const { clientId } = this.#options;
    const [key, formerKey] = [await this.key(account, resource), tokenKey(account, resource)];
    const former = () => unless("invalid_record", this.readAt(formerKey));
    const record = (await this.readAt(key)) ?? (key === formerKey ? undefined : await former());
    return clientId === undefined || record?.client.clientId === clientId ? record : undefined;
  }

  /**
   * What the server URL has led to so far, where a new login is for another resource. It is not replaced where another
   * server URL leads to it, too.
   */
  async former(resource: string): Promise<TokenRecord | undefined> {
    const { store, serverName } = this.#options;
    const [account, name] = [await this.account(), await serverName()];
    const former = await this.resource(account);
    if (former === undefined || former === resource) return undefined;
    const prefix = indexKey(account, "");
    for (const key of await store.keys(prefix)) {
      const other = key.slice(prefix.length);
      if (other !== name && queryOf(other) === queryOf(name) && (await this.#ledTo(account, other)) === former) return undefined;
    }
    return unless("invalid_record", this.#read(former, account));
  }

  /** Remembers to which resource the server URL leads. */
  async index(resource: string, account?: string): Promise<void> {
    const { store, serverName } = this.#options;
    const [owner, name] = [account ?? (await this.account()), await serverName()];
    if ((await this.#ledTo(owner, name)) !== resource) await store.set(indexKey(owner, name), { v: 1, resource });
  }

  /** Where the login at a resource is. Each query of the server's URL has its own, also where the resource is the same. */
  async key(account: string, resource: string): Promise<string> {
    const query = queryOf(await this.#options.serverName());
    // A resource has no fragment (RFC 9728 §1.2): no query of its own is mistaken for the server's.
    return tokenKey(account, (await nameInKeys(resource)) + query.replace("?", "#"));
  }

  /** What is stored at a key, unless it belongs to another query of the server's URL. */
  protected async readAt(key: string): Promise<TokenRecord | undefined> {
    const { store, serverName } = this.#options;
    const record = await readTokens(store, key);
    return record && isOfQuery(record.query, await serverName()) ? record : undefined;
  }

  /** To which resource a server of this name has led. */
  async #ledTo(account: string, name: string): Promise<string | undefined> {
    return text((await this.#options.store.get(indexKey(account, name)))?.resource);
  }
}
