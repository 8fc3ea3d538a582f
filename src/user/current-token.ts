import { LoginRequiredError, type McpAuthError, type McpAuthErrorDetails } from "../errors.ts";
import type { LoginOptions } from "../login/options.ts";
import { canAsk } from "../login/prompt.ts";
import { requestProfile, type Session } from "../login/session.ts";
import { CachedToken } from "../tokens/cached-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { refreshLogin } from "./refresh.ts";

/** The access token of a user's login: refreshed by its refresh token. */
export class CurrentToken extends CachedToken<TokenRecord> {
  readonly #session: Session;

  constructor(session: Session) {
    super(session, {
      load: () => session.keeper.load(),
      bearer: (record) => (requestProfile(session, record.issuer).bearer === "id_token" ? record.idToken : record.accessToken),
      grant: (record) => record?.refreshToken,
      heedsRefusals: !canAsk(session),
      refresh: async (record, demand) => (record ? refreshLogin(session, record, demand) : { record }),
    });
    this.#session = session;
  }

  /** The error where there is no login: the refusal of the last refresh, if only the app can do something about that. */
  loginRequired(): McpAuthError {
    const cause = this.refusal;
    if (cause && cause.code !== "invalid_grant" && cause.code !== "token_request_refused") return cause;
    const { options, server: serverUrl } = this.#session;
    return new LoginRequiredError({ serverUrl, issuer: this.record?.issuer, cause, ...missing(options) });
  }
}

/** What is missing for a login, and who can help: the user, the developer, or a call. */
function missing({ interactive, loginHandler, onDeviceCode }: LoginOptions): McpAuthErrorDetails {
  if (interactive === false) return { detail: "nobody can be asked here: neither terminal nor display, or `CI` or `interactive: false`" };
  if (!loginHandler && !onDeviceCode)
    return { party: "app", detail: "no `loginHandler`", hint: "Pass a `loginHandler` or `onDeviceCode`." };
  return { party: "app", hint: "Call `authorize()` first." };
}
