import { text } from "../http/json.ts";
import type { ClientRegistration } from "../registration/registration.ts";

/** A refresh token that a later login has replaced, and what its revocation needs. */
export interface SupersededToken {
  /** The authorization server that issued it; no other ever sees it. */
  issuer: string;
  /** The registration to which it was issued. */
  client: ClientRegistration;
  refreshToken: string;
}

/** A login, with the refresh tokens of the logins before it. */
export interface LoginHistory {
  issuer: string;
  client: ClientRegistration;
  refreshToken?: string | undefined;
  superseded?: readonly SupersededToken[] | undefined;
}

/** How many are kept; the oldest are dropped. */
const maxSuperseded = 10;

/** The refresh tokens that are left of the logins before once `next` has replaced them, oldest first. */
export function supersededBy(next: LoginHistory, previous: readonly LoginHistory[]): SupersededToken[] {
  const tokens = previous.flatMap(({ issuer, client, refreshToken, superseded = [] }) =>
    refreshToken === undefined ? superseded : [...superseded, { issuer, client, refreshToken }],
  );
  // Some servers give the same refresh token again: it is in use.
  const isInUse = (token: SupersededToken) => token.refreshToken === next.refreshToken && token.issuer === next.issuer;
  return tokens.filter((token) => !isInUse(token)).slice(-maxSuperseded);
}

/** What is readable of a stored list; `undefined` when nothing is. */
export function readSuperseded(value: unknown): SupersededToken[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const tokens = value.filter(isSupersededToken).slice(-maxSuperseded);
  return tokens.length > 0 ? tokens : undefined;
}

function isSupersededToken(value: unknown): value is SupersededToken {
  const { issuer, client, refreshToken } = Object(value) as Partial<SupersededToken>;
  return [issuer, refreshToken, client?.clientId].every((part) => text(part) !== undefined);
}
