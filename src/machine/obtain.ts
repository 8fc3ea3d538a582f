import { selectScopes, splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { sharingRefusal } from "../login/shared-refusal.ts";
import type { RefreshDemand, RefreshOutcome } from "../tokens/cached-token.ts";
import { freshness } from "../tokens/freshness.ts";
import { fromAnswer, sameTokens } from "../tokens/token-record.ts";
import { fingerprintOf, type MachineRecord, machineKey, requestOf } from "./record.ts";
import { requestToken } from "./request.ts";
import { type RequestSession, requestSession } from "./request-session.ts";
import type { MachineSession } from "./session.ts";
import { findTarget, type Target } from "./target.ts";

/** Longer than a token request may take with all its repetitions, shorter than a request of the SDKs. In ms. */
const waitMs = 40_000;

/** What the protected server has said. */
export interface ServerDemand {
  /** Its refusal of the token before. */
  refusal?: Challenge | undefined;
  /** Scopes that it must have: a step-up. */
  scopes?: readonly string[] | undefined;
}

/** Gets a new token for a manager, as {@link obtainToken}. */
export type ObtainToken = (
  known: MachineRecord | undefined,
  demand: RefreshDemand,
  said?: ServerDemand,
) => Promise<RefreshOutcome<MachineRecord>>;

/** What gets the tokens of one manager. */
export function tokenObtainer(session: MachineSession): ObtainToken {
  const requests = requestSession(session);
  return (known, demand, said) => obtainToken(requests, known, demand, said);
}

/**
 * Gets a new token, once however many processes want it:
 *
 * 1. takes the lock; whoever had it before may have got a token already, and that is used
 * 2. finds the authorization server and its metadata
 * 3. asks for a token with the program's own credentials, and stores it
 *
 * @param known the token that will not do any more
 * @param demand why; whoever joins may raise it meanwhile
 * @param said by the protected server
 * @returns no record when the server wants no token; with `error` when the authorization server said no
 * @throws McpAuthError a transient fault; `disposed`
 */
async function obtainToken(
  session: RequestSession,
  known: MachineRecord | undefined,
  demand: RefreshDemand,
  said: ServerDemand = {},
): Promise<RefreshOutcome<MachineRecord>> {
  const { store, clock, emit, tokens } = session;
  const key = machineKey(session);
  const at = clock.now();
  const by = await fingerprintOf(session);
  return store.withLock(
    `refresh/${key}`,
    async (held) => {
      const current = await tokens.read();
      if (current && serves(current, known, said, clock.now())) {
        emit({ type: "refresh.shared", issuer: current.issuer });
        return { record: current, isShared: true };
      }
      // Nobody waits for what begins now.
      if (session.disposed) throw session.disposed;
      const before = current ?? known;
      let issuer = before?.issuer ?? "";
      try {
        return await sharingRefusal(session, `${key}/${by}`, { at }, async () => {
          const target = await findTarget(session, before, said.refusal);
          if (!target) return { record: undefined };
          issuer = target.server.issuer;
          emit({ type: "refresh.started", issuer, reason: demand.reason });
          const record = await askWithinReach(session, target, before, said);
          // A token that cannot be kept is as good as one that is: the next process asks for its own.
          await tokens.write(held, record).catch((error: unknown) => {
            emit({ type: "tokens.unsaved", code: codeOf(error) ?? "store_failed" });
          });
          emit({ type: "refresh.finished", issuer, rotated: false });
          return { record };
        });
      } catch (error) {
        if (!(error instanceof McpAuthError)) throw error;
        emit({ type: "refresh.failed", issuer, code: error.code, transient: error.transient });
        if (error.transient) throw error;
        if (demand.reason !== "refused") return { record: before, error };
        if (current) await tokens.delete(held);
        return { record: undefined, error };
      }
    },
    { waitMs },
  );
}

/** What a step-up once got may not be had any more: then the program goes on with what it has without. */
async function askWithinReach(
  session: RequestSession,
  target: Target,
  before: MachineRecord | undefined,
  said: ServerDemand,
): Promise<MachineRecord> {
  const scopes = scopesFor(session, target, before, said);
  try {
    return await ask(session, target, scopes);
  } catch (error) {
    if (!before || said.scopes || codeOf(error) !== "insufficient_scope") throw error;
    const anew = await findTarget(session, undefined, said.refusal);
    const fewer = anew && scopesFor(session, anew, undefined, said);
    if (!fewer || fewer.length >= scopes.length) throw error;
    return ask(session, anew, fewer);
  }
}

function scopesFor(
  { options }: RequestSession,
  { server, scopes }: Target,
  before: MachineRecord | undefined,
  said: ServerDemand,
): string[] {
  return selectScopes({
    wished: [...(options.scopes ?? []), ...(said.scopes ?? [])],
    supported: before ? [] : scopes,
    askedBefore: before?.issuer === server.issuer ? scopesOf(before, said) : [],
  });
}

/** Where none were asked for, a step-up must not lose those that the server gave. */
function scopesOf({ requestedScopes, scope }: MachineRecord, said: ServerDemand): readonly string[] {
  return said.scopes && requestedScopes.length === 0 ? splitScope(scope) : requestedScopes;
}

async function ask(session: RequestSession, target: Target, requestedScopes: readonly string[]): Promise<MachineRecord> {
  const { clock, emit } = session;
  const { resource } = target;
  const { issuer } = target.server;
  const answer: TokenResponse = await requestToken(session, target, requestedScopes);
  if (answer.refreshToken) emit({ type: "refresh-token.ignored", issuer });
  const { accessToken } = answer;
  if (accessToken === undefined) throw answer.problem ?? new McpAuthError("invalid_token_response", { issuer });
  const { refreshToken: _, idToken: __, ...issued } = fromAnswer(answer, clock.now());
  return {
    scope: requestedScopes.join(" ") || undefined,
    issuedAt: clock.now(),
    ...issued,
    v: 1,
    issuer,
    resource,
    accessToken,
    requestedScopes,
    request: requestOf(session),
  };
}

/** Whether what another process got is what this one wants. */
function serves(record: MachineRecord, known: MachineRecord | undefined, { scopes }: ServerDemand, now: number): boolean {
  const fresh = freshness(record, now, 1);
  const isNew = !sameTokens(record, known) && fresh !== "expired" && fresh !== "leeway";
  const had = [...record.requestedScopes, ...splitScope(record.scope)];
  return isNew && (scopes?.every((scope) => had.includes(scope)) ?? true);
}
