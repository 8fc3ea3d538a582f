import type { Clock } from "../clock.ts";
import type { IssuerAlias } from "../discovery/issuer-names.ts";
import type { AuthEventListener } from "../events.ts";
import { callback, clock, count, flag, having, milliseconds, needed, type Rule, type Rules, text, texts, url } from "../options.ts";
import type { Store } from "../stores/store.ts";

/** Options of every token manager, for a user or a program. */
export interface SessionOptions {
  /** The protected MCP server. */
  serverUrl: string | URL;
  /** Tells several logins at the same server apart; no slashes. Default: the one that `makeDefault()` has chosen, else `default`. */
  account?: string | undefined;
  /** Where tokens and registrations live. Default: in memory. */
  store?: Store | undefined;
  /** Refreshes by a timer as well, so that even the first call after a long pause finds a fresh token. Default `false`. */
  keepFresh?: boolean | undefined;
  /** Refuses an issuer that differs from its metadata only by a final slash after the host. Default `false`. */
  strictIssuer?: boolean | undefined;
  /**
   * Accepts exactly one pair of names of an authorization server that contradicts itself: `expected` is how the protected
   * server (or `issuer`) names it, `found` what its metadata, or its responses to logins, say, character by character. Lost between these two is the
   * protection against a mix-up: whoever controls the metadata at `expected` can send logins, codes and tokens to `found`'s
   * place as if it were the same server. For servers whose operator cannot be asked to correct them.
   *
   * @see RFC 8414 §3.3, RFC 9207 §1
   */
  issuerAlias?: IssuerAlias | undefined;
  /** `false` leaves the `resource` parameter out, for servers that refuse it. They cannot bind tokens to this server then. */
  resourceParameter?: boolean | undefined;
  /** What sends requests, to the protected server as well as to the authorization server. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /**
   * Time for one request to the authorization server, and for metadata, in milliseconds. Default: 30,000 for requests that spend
   * something (codes, refresh tokens, registrations, a program's credentials), 10,000 for metadata. A refresh always has 30,000 at
   * least: what may still be answered is not sent again. Time in which the program cannot run does not count.
   */
  requestTimeout?: number | undefined;
  /**
   * Token requests in flight at most, for all logins of this process at one authorization server. The others wait, first come,
   * first served; a server that answers 429 or 503 gets fewer at once for a while. Default 16.
   */
  maxTokenRequests?: number | undefined;
  /** Host names to which plain http is allowed although they are not loopback. Tokens can be read on the way there. */
  allowInsecure?: readonly string[] | undefined;
  /** Receives events. They hold no secret. */
  onEvent?: AuthEventListener | undefined;
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
  /** Receives work that must not be cut off, as service workers' `waitUntil` does. */
  waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Whether the process knows that it ends: nothing is started in the background then. */
  isEnding?: (() => boolean) | undefined;
}

const aliasRule: Rule = [
  "an object of two different texts, `expected` and `found`",
  (value) => {
    const { expected, found, ...others } = Object(value) as Partial<IssuerAlias>;
    return text[1](expected) && text[1](found) && expected !== found && Object.keys(others).length === 0;
  },
];

/** What a store must be able to do. */
export const storeRule = () => having("a store", "get", "set", "delete", "take", "keys", "withLock");

export const sessionRules = (): Rules<SessionOptions> => ({
  serverUrl: needed(url),
  account: text,
  store: storeRule(),
  keepFresh: flag,
  strictIssuer: flag,
  issuerAlias: aliasRule,
  resourceParameter: flag,
  fetch: callback,
  requestTimeout: milliseconds,
  maxTokenRequests: count,
  allowInsecure: texts,
  onEvent: callback,
  clock: clock(),
  waitUntil: callback,
  isEnding: callback,
});
