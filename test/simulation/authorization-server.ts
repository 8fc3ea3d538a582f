import type { World } from "./world.ts";

/** How the authorization server treats refresh tokens. */
export interface Rules {
  /**
   * - `strict`: each is replaced; one that is used again ends the login
   * - `grace`: as strict, but within a window a repeated request gets the same answer again
   * - `forgiving`: each is replaced; one that is used again is refused, and that is all
   * - `fixed`: one stays as long as the login
   */
  rotation: "strict" | "grace" | "forgiving" | "fixed";
  /** Lifetime of access tokens, in seconds. */
  lifetime: number;
  /** Whether answers say how long that is. */
  announced: boolean;
}

/** One login. */
export interface Login {
  readonly name: string;
  alive: boolean;
  /** Its refresh token. */
  current: string;
  /** An app has asked for its end. */
  loggedOut: boolean;
}

/** A refresh token that was exchanged for another. */
interface Replaced {
  at: number;
  by: Grant;
}

/** What a successful token request gave. */
export interface Grant {
  readonly login: Login;
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** How long a repeated request is forgiven, in ms. */
const graceMs = 60_000;

/** An authorization server as a model: it decides at once and never errs. */
export class SimulatedAuthorizationServer {
  readonly rules: Rules;
  readonly #world: World;
  readonly #logins: Login[] = [];
  readonly #refreshTokens = new Map<string, Login>();
  readonly #replaced = new Map<string, Replaced>();
  readonly #accessTokens = new Map<string, { login: Login; until: number }>();
  #serial = 0;

  constructor(world: World, rules: Rules) {
    this.#world = world;
    this.rules = rules;
  }

  /** A user has allowed it. */
  logIn(): Grant {
    const login: Login = { name: `login ${this.#logins.length + 1}`, alive: true, current: "", loggedOut: false };
    this.#logins.push(login);
    return this.#grant(login, this.#refreshToken(login));
  }

  get newestLogin(): Login | undefined {
    return this.#logins.at(-1);
  }

  /** @returns what was granted; `undefined` for `invalid_grant` */
  refresh(token: string): Grant | undefined {
    const login = this.#refreshTokens.get(token);
    if (!login?.alive) return undefined;
    const { rotation } = this.rules;
    if (login.current === token) {
      if (rotation === "fixed") return this.#grant(login, token);
      const by = this.#grant(login, this.#refreshToken(login));
      this.#replaced.set(token, { at: this.#world.now, by });
      return by;
    }
    if (this.#isForgiven(token)) {
      this.#world.counts["answers repeated"]++;
      return this.#replaced.get(token)?.by;
    }
    if (rotation !== "forgiving") login.alive = false;
    return undefined;
  }

  revoke(token: string): void {
    const login = this.#refreshTokens.get(token);
    if (login) login.alive = false;
    this.#accessTokens.delete(token);
  }

  loginOf(token: string | undefined): Login | undefined {
    return this.#refreshTokens.get(token ?? "") ?? this.#accessTokens.get(token ?? "")?.login;
  }

  /** Whether a refresh with this token would succeed. */
  acceptsRefresh(token: string | undefined): boolean {
    const login = this.#refreshTokens.get(token ?? "");
    return login?.alive === true && (login.current === token || this.#isForgiven(token ?? ""));
  }

  /** Whether the protected server takes this access token. */
  acceptsAccess(token: string | undefined): boolean {
    const found = this.#accessTokens.get(token ?? "");
    return found?.login.alive === true && this.#world.now < found.until;
  }

  #isForgiven(token: string): boolean {
    const replaced = this.#replaced.get(token);
    if (this.rules.rotation !== "grace" || !replaced) return false;
    return replaced.by.refreshToken === replaced.by.login.current && this.#world.now - replaced.at < graceMs;
  }

  #refreshToken(login: Login): string {
    login.current = `refresh-${++this.#serial}`;
    this.#refreshTokens.set(login.current, login);
    return login.current;
  }

  #grant(login: Login, refreshToken: string): Grant {
    const accessToken = `access-${++this.#serial}`;
    this.#accessTokens.set(accessToken, { login, until: this.#world.now + this.rules.lifetime * 1000 });
    return { login, accessToken, refreshToken };
  }
}
