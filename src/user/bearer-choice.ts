import type { Session } from "../login/session.ts";
import { profileFor } from "../profiles/profiles.ts";
import { sameTokens, type TokenRecord } from "../tokens/token-record.ts";

/** What may be presented to the protected server. */
type Bearer = NonNullable<TokenRecord["bearer"]>;

/**
 * Which of a login's tokens is presented: what the app says; else, at servers that may want the ID token, the one that they
 * have taken before, the one that was not tried yet, the one that the profile names. An ID token is shown to nobody else.
 *
 * @see OpenID Connect Core §2: its audience is the client
 */
export class BearerChoice {
  readonly #session: Session;
  /** What is tried instead, for one access token. */
  #other: { accessToken: string | undefined; bearer: Bearer } | undefined;
  /** What the server has taken of a login of this authorization server. */
  #taken: { issuer: string; bearer: Bearer } | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The token to present. */
  of(record: TokenRecord): string | undefined {
    const { bearer } = this.#session.options;
    if (bearer) return partOf(record, bearer);
    return partOf(record, this.#current(record)) ?? record.accessToken;
  }

  /** Chooses the other token of a login, once. @returns whether there is one */
  change(record: TokenRecord): boolean {
    const { accessToken } = record;
    if (this.#session.options.bearer || !this.#usual(record) || this.#other?.accessToken === accessToken) return false;
    const bearer = this.#current(record) === "id_token" ? "access_token" : "id_token";
    const other = partOf(record, bearer);
    if (other === undefined || other === this.of(record)) return false;
    this.#other = { accessToken, bearer };
    return true;
  }

  /** The server has taken what was chosen instead: remembers it with the login. */
  keep(record: TokenRecord): void {
    const other = this.#other;
    if (other === undefined || other.accessToken !== record.accessToken) return;
    const { keeper, options } = this.#session;
    const { bearer } = other;
    if (this.#taken?.issuer === record.issuer && this.#taken.bearer === bearer) return;
    this.#taken = { issuer: record.issuer, bearer };
    // It saves others a request, no more: what cannot be remembered is found out anew.
    const work = keeper
      .locked(record.resource, async ({ current, note }) => {
        if (sameTokens(current, record)) await note({ bearer });
      })
      .catch(() => {});
    options.waitUntil?.(work);
  }

  #current(record: TokenRecord): Bearer {
    const usual = this.#usual(record);
    if (!usual) return "access_token";
    if (this.#other && this.#other.accessToken === record.accessToken) return this.#other.bearer;
    return (this.#taken?.issuer === record.issuer ? this.#taken.bearer : record.bearer) ?? usual;
  }

  #usual({ issuer }: TokenRecord): Bearer | undefined {
    return profileFor(issuer, this.#session.server)?.bearer;
  }
}

function partOf({ accessToken, idToken }: TokenRecord, bearer: Bearer): string | undefined {
  return bearer === "id_token" ? idToken : accessToken;
}
