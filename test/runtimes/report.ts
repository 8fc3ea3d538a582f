/** What a program is given, and what it reports. */

export interface Setting {
  /** The protected server. */
  serverUrl: string;
  /** Plays the user, revokes tokens, counts requests: see `stage.ts`. */
  control: string;
  /** A client with the client credentials grant. */
  client: { clientId: string; clientSecret: string };
}

export type StepName =
  | "discovery, registration, login"
  | "refresh at expiry"
  | "50 refused calls at once"
  | "step-up"
  | "logout"
  | "audit trail"
  | "a program's client credentials"
  | "a hosted login, begun on one machine, finished on another";

export interface Step {
  /** What the program saw. */
  saw: unknown;
  /** How often the authorization server was asked for what, meanwhile. */
  requests: Readonly<Record<string, number>>;
}

export interface Report {
  userAgent: string;
  steps: Partial<Record<StepName, Step>>;
}
