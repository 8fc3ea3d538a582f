import { type LoginOptions, loginRules } from "../login/options.ts";
import { callback, milliseconds, needed, type Rule, type Rules, scopes, signal, text, url } from "../options.ts";
import { checkRedirectUri } from "../registration/redirect-uri.ts";
import type { Store } from "../stores/store.ts";
import { storeRule } from "../tokens/options.ts";

/** What belongs to one login, to a user at this machine, or to a manager alone. */
const notHosted = [
  "serverUrl",
  "account",
  "store",
  "loginHandler",
  "onDeviceCode",
  "interactive",
  "loginTimeout",
  "redirectUris",
  "redirectHost",
  "keepFresh",
  "refreshScope",
  "bearer",
  "waitUntil",
  "isEnding",
] as const satisfies readonly (keyof LoginOptions)[];

/** What may differ from one protected server to another. */
export interface HostedServerOptions extends Omit<LoginOptions, (typeof notHosted)[number]> {}

/** How a web app logs its users in. `store` and `redirectUri` are needed; all machines get the same options. */
export interface HostedLoginOptions extends HostedServerOptions {
  /** What all machines share: pending logins, registrations and tokens. */
  store: Store;
  /** Where authorization servers send the user's browser back to: https, or http on loopback. The app is at its origin. */
  redirectUri: string;
  /** How long the user has for a login, in ms. Default 600,000. */
  loginTimeout?: number | undefined;
  /** Options for one protected server, in place of the common ones, such as a `clientId`. All machines must give the same. */
  serverOptions?: ((serverUrl: string) => HostedServerOptions | undefined) | undefined;
}

/** Which login begins. */
export interface BeginAuthorization {
  /** The protected server. */
  serverUrl: string | URL;
  /** Whose login it is: the app's own name of its user; no slashes. */
  account: string;
  /** Where in the app the user goes on after the login: a path, with query and fragment where needed. Default `/`. */
  returnTo?: string | undefined;
  /** Scopes to ask for, beside those of the options and of earlier logins: a step-up. */
  scopes?: readonly string[] | undefined;
  /** Gives up the preparation. */
  signal?: AbortSignal | undefined;
}

/** How the response to a login is checked, beside its `state`. */
export interface FinishAuthorization {
  /** What `beginAuthorization` returned for this browser. Not needed for a `Request`, whose cookies have it. */
  binding?: string | undefined;
  /** Who is signed in at the app now: a login of anybody else is refused. Default: the binding alone counts. */
  account?: string | undefined;
}

const redirectUri: Rule = [
  "an https URL, or an http one on loopback, without fragment",
  (value) => {
    try {
      return typeof value === "string" && checkRedirectUri(value) instanceof URL;
    } catch {
      return false;
    }
  },
];

export const hostedServerRules = (): Rules<HostedServerOptions> => {
  const others: readonly string[] = notHosted;
  const rules = Object.entries(loginRules()).filter(([name]) => !others.includes(name));
  return Object.fromEntries(rules) as unknown as Rules<HostedServerOptions>;
};

export const hostedLoginRules = (): Rules<HostedLoginOptions> => ({
  ...hostedServerRules(),
  store: needed(storeRule()),
  redirectUri: needed(redirectUri),
  loginTimeout: milliseconds,
  serverOptions: callback,
});

export const beginRules = (): Rules<BeginAuthorization> => ({
  serverUrl: needed(url),
  account: needed(text),
  returnTo: text,
  scopes,
  signal: signal(),
});

export const finishRules = (): Rules<FinishAuthorization> => ({ binding: text, account: text });
