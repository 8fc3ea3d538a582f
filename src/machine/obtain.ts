import { selectScopes, splitScope } from "../authorization/scopes.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import type { TokenResponse } from "../grants/token-request.ts";
import { sharingRefusal } from "../login/shared-refusal.ts";
import { lockTimeoutFor } from "../tokens/attempts.ts";
import type { RefreshDemand, RefreshOutcome } from "../tokens/cached-token.ts";
import { freshness } from "../tokens/freshness.ts";
import { fromAnswer, sameTokens } from "../tokens/token-record.ts";
import { tokenRequests } from "../tokens/token-requests.ts";
import { fingerprintOf, type MachineRecord, machineKey, requestOf } from "./record.ts";
import { requestToken } from "./request.ts";
import { type RequestSession, requestSession } from "./request-session.ts";
import type { MachineSession } from "./session.ts";
import { findTarget, type Target } from "./target.ts";

export { hasMoved } from "../tokens/moved-server.ts";

/** What the protected server demands of the next token. */
export interface ServerDemand {
  /** The challenge with which it refused the previous token. */
  refusal?: Challenge | undefined;
  /** Scopes that the token must have: a step-up. */
  scopes?: readonly string[] | undefined;
}

/** {@link obtainToken}, bound to one manager. */
export type ObtainToken = (
  known: MachineRecord | undefined,
  demand: RefreshDemand,
  serverDemand?: ServerDemand,
) => Promise<RefreshOutcome<MachineRecord>>;

/** Binds {@link obtainToken} to one manager. */
export function tokenObtainer(session: MachineSession): ObtainToken {
  const requests = requestSession(session);
  return (known, demand, serverDemand) => obtainToken(requests, known, demand, serverDemand);
}

/**
 * Gets a new token. All processes that need one share a single token request:
 *
 * 1. takes the lock; uses the token that the previous holder of the lock has stored, if there is one
 * 2. finds the authorization server and its metadata
 * 3. requests a token with the program's own credentials, and stores it
 *
 * @param known the token to replace
 * @param demand why it is replaced; another caller that joins may make it more urgent
 * @param serverDemand what the protected server demands
 * @returns no record when the server needs no token; with `error` when the authorization server refused
 * @throws McpAuthError transient errors; `disposed`
 */
async function obtainToken(
  session: RequestSession,
  known: MachineRecord | undefined,
  demand: RefreshDemand,
  serverDemand: ServerDemand = {},
): Promise<RefreshOutcome<MachineRecord>> {
  const { store, clock, emit, tokens } = session;
  const waitingSince = clock.now();
  const key = await machineKey(session);
  const fingerprint = await fingerprintOf(session);
  const underLock = (onLock: () => void) =>
    store.withLock(
      `refresh/${key}`,
      async (held) => {
        onLock();
        const current = await tokens.read();
        if (current && meetsDemand(current, known, serverDemand, clock.now())) {
          emit({ type: "refresh.shared", issuer: current.issuer });
          return { record: current, isShared: true };
        }
        // After `dispose()` nobody waits for a new request.
        if (session.disposed) throw session.disposed;
        const previous = current ?? known;
        let issuer = previous?.issuer ?? "";
        try {
          return await sharingRefusal(session, `${key}/${fingerprint}`, { waitingSince }, async () => {
            const target = await findTarget(session, previous, serverDemand.refusal);
            if (!target) return { record: undefined };
            issuer = target.server.issuer;
            emit({ type: "refresh.started", issuer, reason: demand.reason });
            const record = await requestWithFallback(session, target, previous, serverDemand);
            // A token that cannot be stored is still valid here. The next process requests its own.
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
          if (demand.reason !== "refused") return { record: previous, error };
          if (current) await tokens.delete(held);
          return { record: undefined, error };
        }
      },
      { lockTimeout: lockTimeoutFor(session.options.requestTimeout) },
    );
  return tokenRequests(session, known?.issuer ?? session.server).whileLocked(session, underLock);
}

/**
 * Requests a token. The server may no longer grant the scopes of an earlier step-up: then the request is repeated without
 * them.
 */
async function requestWithFallback(
  session: RequestSession,
  target: Target,
  previous: MachineRecord | undefined,
  serverDemand: ServerDemand,
): Promise<MachineRecord> {
  const scopes = scopesFor(session, target, previous, serverDemand);
  try {
    return await requestRecord(session, target, scopes);
  } catch (error) {
    if (!previous || serverDemand.scopes || codeOf(error) !== "insufficient_scope") throw error;
    const rediscovered = await findTarget(session, undefined, serverDemand.refusal);
    const fewerScopes = rediscovered && scopesFor(session, rediscovered, undefined, serverDemand);
    if (!fewerScopes || fewerScopes.length >= scopes.length) throw error;
    return requestRecord(session, rediscovered, fewerScopes);
  }
}

function scopesFor(
  { options }: RequestSession,
  { server, scopes }: Target,
  previous: MachineRecord | undefined,
  serverDemand: ServerDemand,
): string[] {
  return selectScopes({
    wished: [...(options.scopes ?? []), ...(serverDemand.scopes ?? [])],
    supported: previous ? [] : scopes,
    askedBefore: previous?.issuer === server.issuer ? scopesOf(previous, serverDemand) : [],
  });
}

/** Scopes that the new request repeats. When none were requested, a step-up keeps the granted ones. */
function scopesOf({ requestedScopes, scope }: MachineRecord, serverDemand: ServerDemand): readonly string[] {
  return serverDemand.scopes && requestedScopes.length === 0 ? splitScope(scope) : requestedScopes;
}

async function requestRecord(session: RequestSession, target: Target, requestedScopes: readonly string[]): Promise<MachineRecord> {
  const { clock, emit } = session;
  const { resource } = target;
  const { issuer } = target.server;
  const response: TokenResponse = await requestToken(session, target, requestedScopes);
  if (response.refreshToken) emit({ type: "refresh-token.ignored", issuer });
  const { accessToken } = response;
  if (accessToken === undefined) throw response.problem ?? new McpAuthError("invalid_token_response", { issuer });
  const { refreshToken: _, idToken: __, ...issued } = fromAnswer(response, clock.now());
  return {
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

/** Whether the token of another process meets this process's demand. */
function meetsDemand(record: MachineRecord, known: MachineRecord | undefined, { scopes }: ServerDemand, now: number): boolean {
  const fresh = freshness(record, now, 1);
  const isNew = !sameTokens(record, known) && fresh !== "expired" && fresh !== "leeway";
  const covered = [...record.requestedScopes, ...splitScope(record.scope)];
  return isNew && (scopes?.every((scope) => covered.includes(scope)) ?? true);
}
