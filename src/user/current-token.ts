import { LoginRequiredError, type McpAuthError } from "../errors.ts";
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
      refresh: async (record, demand) => (record ? refreshLogin(session, record, demand) : { record }),
    });
    this.#session = session;
  }

  /** Without a login: why, as far as that is known. What a program must mend itself is told as it is. */
  loginRequired(): McpAuthError {
    const cause = this.refusal;
    if (cause && cause.code !== "invalid_grant") return cause;
    const { options, server: serverUrl } = this.#session;
    const detail = options.interactive === false ? "`interactive` is off, or there is no terminal, or this is `CI`" : undefined;
    return new LoginRequiredError({ serverUrl, issuer: this.record?.issuer, detail, cause });
  }
}
