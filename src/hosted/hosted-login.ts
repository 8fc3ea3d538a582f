import { type Clock, systemClock } from "../clock.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import { idleLoginOptions } from "../login/options.ts";
import { createSession, type Session } from "../login/session.ts";
import { checkOptions, needed, type Rule } from "../options.ts";
import { namingFailures } from "../tokens/named-failures.ts";
import { type LogoutResult, logout } from "../user/logout.ts";
import { generateBinding, readCookie, setCookie } from "./binding.ts";
import type { Visitor } from "./finish.ts";
import {
  type BeginAuthorization,
  beginRules,
  type FinishAuthorization,
  finishRules,
  type HostedLoginOptions,
  hostedLoginRules,
  hostedServerRules,
} from "./options.ts";
import { placeInApp } from "./return-to.ts";

/** A login whose user is to be sent away. */
export interface BegunAuthorization {
  /** Where to send the user's browser. */
  url: URL;
  /** What only this browser may know: the login is finished by whoever has it. */
  binding: string;
  /** `Set-Cookie` with the binding, for an app that has the same cookies at the redirect URI. */
  cookie: string;
  /** When the user's time ends, in ms since 1970. */
  expiresAt: number;
}

/** A login that is stored: a `TokenManager` with its server, account and store uses it. */
export interface FinishedAuthorization {
  /** The protected server. */
  serverUrl: string;
  /** Whose login it is. */
  account: string;
  /** Where the user goes on: an absolute URL of the app. */
  returnTo: string;
  /** Granted scopes. */
  scopes: readonly string[];
}

/**
 * Logins of a web app's users, begun on one machine and finished on any other that shares the store.
 *
 * Nothing is kept in memory. A login is finished once, in the browser that has begun it, and within its time.
 *
 * @example
 * ```ts
 * const logins = new HostedLogin({ store, redirectUri: "https://app.example/mcp/callback", clientName: "Acme" });
 * const { url, cookie } = await logins.beginAuthorization({ serverUrl, account: user.id, returnTo: "/tools" });
 * // … the user comes back to the redirect URI, perhaps on another machine:
 * const { returnTo } = await logins.finishAuthorization(request);
 * ```
 */
export class HostedLogin {
  /** Where authorization servers send the user's browser back to. */
  readonly redirectUri: URL;

  readonly #options: HostedLoginOptions;
  readonly #clock: Clock;
  #sweepAt = 0;

  /** @throws McpAuthError `invalid_option` */
  constructor(options: HostedLoginOptions) {
    checkOptions(options, hostedLoginRules(), idleLoginOptions);
    this.#options = { ...options, store: namingFailures(options.store) };
    this.#clock = options.clock ?? systemClock;
    this.redirectUri = new URL(options.redirectUri);
  }

  /**
   * Begins a login: finds the authorization server, gets a client, and stores what finishing it needs.
   *
   * @throws McpAuthError every code of discovery and registration; `token_not_required` when the server wants no login;
   *   `invalid_option` for a `returnTo` elsewhere; `store_failed`
   * @see RFC 6749 §4.1.1, RFC 7636, RFC 8707
   */
  async beginAuthorization(begin: BeginAuthorization): Promise<BegunAuthorization> {
    checkOptions(begin, beginRules());
    const { serverUrl, account, returnTo = "/", scopes, signal = new AbortController().signal } = begin;
    const place = placeInApp(this.redirectUri, returnTo);
    const binding = generateBinding();
    const { redirectUri } = this.#options;
    const session = this.#session(serverUrl, account);
    // What a login needs is loaded when there is one: most processes of an app start without.
    const { prepareLogin } = await import("./begin.ts");
    const prepare = () => prepareLogin(session, { redirectUri, returnTo: place, binding, scopes, signal });
    const { url, stateDigest, expiresAt } = await reporting(session, prepare);
    await this.#sweep();
    const maxAge = Math.ceil((expiresAt - this.#clock.now()) / 1000);
    return { url, binding, cookie: setCookie(this.redirectUri, stateDigest, binding, maxAge), expiresAt };
  }

  /**
   * Finishes a login with the authorization server's response: exchanges the code and stores the tokens.
   *
   * @param response the request to the redirect URI, or its URL
   * @throws McpAuthError `state_mismatch` for a response of no login, such as one that has finished, and for one of another
   *   browser's or account's, which changes nothing; `login_timeout`; `authorization_denied`, `authorization_error`,
   *   `issuer_mismatch`; every code of token requests; `invalid_record`; `store_failed`, `lock_timeout`
   * @see RFC 6749 §4.1.2, RFC 9207
   */
  async finishAuthorization(response: Request | URL | string, by: FinishAuthorization = {}): Promise<FinishedAuthorization> {
    checkOptions({ response }, { response: needed(responseRule) });
    checkOptions(by, finishRules());
    const isRequest = response instanceof Object && "headers" in response;
    const { searchParams } = new URL(isRequest ? response.url : response, this.redirectUri);
    const visitor = (stateDigest: string): Visitor => ({
      ...by,
      binding: by.binding ?? (isRequest ? readCookie(this.redirectUri, stateDigest, response.headers.get("cookie")) : undefined),
    });
    const { findLogin, finishLogin } = await import("./finish.ts");
    const { stateDigest, login } = await findLogin(this.#options.store, searchParams, visitor, this.#clock.now());
    const session = this.#session(login.serverUrl, login.account);
    const outcome = await reporting(session, () => finishLogin(session, searchParams, stateDigest));
    const { serverUrl, account, returnTo, scopes } = outcome.login;
    const finished = { serverUrl, account, returnTo, scopes };
    if (outcome.isFirst) return finished;
    const detail = "this login has finished already";
    const error = new McpAuthError("state_mismatch", { serverUrl, detail, hint: "There is nothing left to do." });
    finishedEarlier.set(error, finished);
    throw error;
  }

  /**
   * Revokes a login at its authorization server, as far as it can, and deletes it. Managers that have its token in memory use
   * it until it is refused.
   *
   * @throws McpAuthError `lock_timeout`, `store_failed`
   * @see RFC 7009
   */
  async logout(login: { serverUrl: string | URL; account: string }): Promise<LogoutResult> {
    const { serverUrl, account } = beginRules();
    checkOptions(login, { serverUrl, account });
    return logout(this.#session(login.serverUrl, login.account), undefined);
  }

  #session(serverUrl: string | URL, account: string): Session {
    const { redirectUri, loginTimeout = 600_000, serverOptions, ...common } = this.#options;
    const own = serverOptions?.(String(serverUrl)) ?? {};
    checkOptions({ ...own }, hostedServerRules());
    const options = { ...common, ...own, loginTimeout, redirectUris: [redirectUri] };
    return createSession({ ...options, serverUrl, account });
  }

  /** Now and then, deletes logins that nobody has finished. */
  async #sweep(): Promise<void> {
    const { store, loginTimeout = 600_000 } = this.#options;
    const now = this.#clock.now();
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + loginTimeout;
    const { sweep } = await import("./pending-login.ts");
    await sweep(store, now);
  }
}

/** What an earlier response from the same browser has finished, by the error for a later one. */
const finishedEarlier = new WeakMap<McpAuthError, FinishedAuthorization>();

/** The login that the response before has finished, from the same browser. */
export function finishedBefore(error: unknown): FinishedAuthorization | undefined {
  return error instanceof McpAuthError ? finishedEarlier.get(error) : undefined;
}

const responseRule: Rule = [
  "a `Request` to the redirect URI, or its URL",
  (value) => {
    const url = typeof value === "string" || value instanceof URL ? value : Reflect.get(Object(value), "url");
    return typeof url === "string" || url instanceof URL ? URL.canParse(url, "https://app.example") : false;
  },
];

async function reporting<T>({ emit }: Session, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code) emit({ type: "login.failed", code });
    throw error;
  }
}
