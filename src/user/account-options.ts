import type { McpAuthError } from "../errors.ts";
import type { LoginAccess } from "../login/session.ts";
import type { TokenManagerOptions } from "./options.ts";

/** What the managers of many accounts share. */
export interface SharedAccess extends LoginAccess {
  readonly options: TokenManagerOptions;
  /** Set once all of them are disposed of. */
  disposed: McpAuthError | undefined;
  /** The manager of an account has ended: the next who asks for that account gets another. */
  readonly onDispose: (account: string) => void;
}

/** Options that were checked once for many accounts: a manager adds its account to them. */
export class AccountOptions implements TokenManagerOptions {
  readonly access: SharedAccess;
  readonly account: string;

  constructor(access: SharedAccess, account: string) {
    this.access = access;
    this.account = account;
  }

  get serverUrl(): URL {
    return this.access.serverUrl;
  }
}
