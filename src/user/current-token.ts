import { LoginRequiredError, type McpAuthError, type McpAuthErrorDetails } from "../errors.ts";
import type { LoginOptions } from "../login/options.ts";
import { canAsk } from "../login/prompt.ts";
import type { Session } from "../login/session.ts";
import { CachedToken } from "../tokens/cached-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { BearerChoice } from "./bearer-choice.ts";
import { refreshLogin } from "./refresh.ts";

/** What a user's login presents, an access token nearly always: refreshed by its refresh token. */
export class CurrentToken extends CachedToken<TokenRecord> {
  readonly #session: Session;
  readonly #choice: BearerChoice;

  constructor(session: Session) {
    const choice = new BearerChoice(session);
    super(session, {
      load: () => session.keeper.load(),
      bearer: (record) => choice.of(record),
      grant: (record) => record?.refreshToken,
      heedsRefusals: !canAsk(session),
      refresh: async (record, demand) => (record ? refreshLogin(session, record, demand) : { record }),
    });
    this.#session = session;
    this.#choice = choice;
  }

  /** After the refusal of a new token: presents the other token of the login, where servers may want either. */
  presentOther(refused: string): boolean {
    const { record } = this;
    if (!record || this.bearer !== refused || !this.isNews || this.accepted || !this.#choice.change(record)) return false;
    this.presentAnew();
    return true;
  }

  /** The server has taken what is presented. */
  keepPresented(): void {
    if (this.accepted && this.record) this.#choice.keep(this.record);
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
