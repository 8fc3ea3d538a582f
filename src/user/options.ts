import { type LoginOptions, loginRules } from "../login/options.ts";
import { milliseconds, type Rules } from "../options.ts";

/** How a user's login at one protected server is made, kept and used. Only `serverUrl` is needed. */
export interface TokenManagerOptions extends LoginOptions {
  /** How long a request waits for the user before it fails with `login_pending`, in ms. Default 50,000: below the SDKs' 60 s. */
  loginPendingTimeout?: number | undefined;
}

export const tokenManagerRules = (): Rules<TokenManagerOptions> => ({ ...loginRules(), loginPendingTimeout: milliseconds });
