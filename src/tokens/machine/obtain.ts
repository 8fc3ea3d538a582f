import { selectScopes } from "../../authorization/scopes.ts";
import type { Challenge } from "../../discovery/challenge.ts";
import { codeOf, McpAuthError } from "../../errors.ts";
import type { TokenAnswer } from "../../grants/token-request.ts";
import { freshness } from "../freshness.ts";
import type { RefreshDemand, RefreshOutcome } from "../renewed-token.ts";
import { sharingRefusal } from "../shared-refusal.ts";
import { fromAnswer, sameTokens } from "../token-record.ts";
import { asStored, type MachineRecord, machineKey, readRecord, requestOf } from "./record.ts";
import { requestToken } from "./request.ts";
import type { MachineSession } from "./session.ts";
import { findTarget, type Target } from "./target.ts";

/** Longer than a token request may take with all its repetitions, shorter than a request of the SDKs. In ms. */
const waitMs = 40_000;

/** Why a token is asked for. */
export interface TokenDemand extends RefreshDemand {
  /** The server's refusal that led to it. */
  refusal?: Challenge | undefined;
  /** Scopes that it must have: a step-up. */
  scopes?: readonly string[] | undefined;
}

/**
 * Gets a new token, once however many processes want it:
 *
 * 1. takes the lock; whoever had it before may have got a token already, and that is used
 * 2. finds the authorization server and its metadata
 * 3. asks for a token with the program's own credentials, and stores it
 *
 * @param known the token that will not do any more
 * @returns no record when the server wants no token; with `error` when the authorization server said no
 * @throws McpAuthError what passes by itself; every code of discovery
 */
export function obtainToken(
  session: MachineSession,
  known: MachineRecord | undefined,
  demand: TokenDemand,
): Promise<RefreshOutcome<MachineRecord>> {
  const { store, clock, emit } = session;
  const key = machineKey(session);
  const askedAt = clock.now();
  return store.withLock(
    `refresh/${key}`,
    async (held) => {
      const current = await readRecord(session);
      if (current && serves(current, known, demand, clock.now())) {
        emit({ type: "refresh.shared", issuer: current.issuer });
        return { record: current };
      }
      const before = current ?? known;
      let issuer = before?.issuer ?? "";
      try {
        return await sharingRefusal(session, key, askedAt, async () => {
          const target = await findTarget(session, before, demand.refusal);
          if (!target) return { record: undefined };
          issuer = target.server.issuer;
          emit({ type: "refresh.started", issuer, reason: demand.reason });
          const record = await ask(session, target, before, demand);
          // A token that cannot be kept is as good as one that is: the next process asks for its own.
          await held.set(key, asStored(record)).catch((error: unknown) => {
            emit({ type: "tokens.unsaved", code: codeOf(error) ?? "store_failed" });
          });
          emit({ type: "refresh.finished", issuer, rotated: false });
          return { record };
        });
      } catch (error) {
        if (!(error instanceof McpAuthError)) throw error;
        emit({ type: "refresh.failed", issuer, code: error.code, passing: error.passing });
        if (error.passing) throw error;
        if (demand.reason !== "refused") return { record: before, error };
        await held.delete(key).catch(() => {});
        return { record: undefined, error };
      }
    },
    { waitMs },
  );
}

async function ask(
  session: MachineSession,
  { server, resource, scopes: named }: Target,
  before: MachineRecord | undefined,
  demand: TokenDemand,
): Promise<MachineRecord> {
  const { clock, emit, options } = session;
  const { issuer } = server;
  const requestedScopes = selectScopes({
    wished: [...(options.scopes ?? []), ...(demand.scopes ?? [])],
    supported: before ? [] : named,
    askedBefore: before?.issuer === issuer ? before.requestedScopes : [],
  });
  const answer: TokenAnswer = await requestToken(session, { server, resource, scopes: named }, requestedScopes);
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
function serves(record: MachineRecord, known: MachineRecord | undefined, { scopes }: TokenDemand, now: number): boolean {
  const fresh = freshness(record, now, 1);
  const isNew = !sameTokens(record, known) && fresh !== "expired" && fresh !== "leeway";
  return isNew && (scopes?.every((scope) => record.requestedScopes.includes(scope)) ?? true);
}
