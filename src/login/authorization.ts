import type { Discovery } from "../discovery/discovery.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import type { Profile } from "../profiles/profiles.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { fromAnswer, type TokenRecord } from "../tokens/token-record.ts";
import type { Session } from "./session.ts";

/** Everything that is settled before a user is asked, in whatever way. */
export interface Authorization {
  discovery: Discovery;
  profile: Partial<Profile>;
  scopes: readonly string[];
  /** Resource indicator; `undefined` where the server refuses the parameter. */
  resource: string | undefined;
  /** Parameters of the request beyond the protocol's own. */
  parameters: Readonly<Record<string, string>>;
  signal: AbortSignal;
  /** When the user's time is over, in ms since 1970. */
  endsAt: number;
  /** Once the answer is there the user's time does not count any more. */
  onAnswer: () => void;
}

/**
 * Keeps what a user's decision brought. The refresh lock keeps a refresh of the old login from overwriting it.
 *
 * @throws McpAuthError `invalid_token_response` when there is no access token: a refresh token that came alone is stored all the same
 */
export async function keepLogin(
  { clock, keeper }: Session,
  { discovery: { resource, issuer }, scopes }: Authorization,
  client: ClientRegistration,
  answer: TokenResponse,
): Promise<TokenRecord> {
  const now = clock.now();
  const record: TokenRecord = {
    v: 1,
    resource,
    issuer,
    client,
    requestedScopes: scopes,
    loggedInAt: now,
    issuedAt: now,
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
    ...fromAnswer(answer, now),
  };
  await keeper.locked(resource, (turn) => turn.save(record));
  // A stored login that cannot be found is asked for again, which is no reason to fail now.
  await keeper.index(resource).catch(() => {});
  if (answer.problem) throw answer.problem;
  return record;
}
