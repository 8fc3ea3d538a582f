import type { LoginAccess } from "../login/session.ts";
import type { TokenManagerOptions } from "./options.ts";

/** Options that were checked once for many accounts: a manager adds its account to them. */
export class AccountOptions implements TokenManagerOptions {
  readonly access: LoginAccess & { readonly options: TokenManagerOptions };
  readonly account: string;

  constructor(access: AccountOptions["access"], account: string) {
    this.access = access;
    this.account = account;
  }

  get serverUrl(): URL {
    return this.access.serverUrl;
  }
}
