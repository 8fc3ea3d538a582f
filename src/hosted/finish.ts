import { stateOf } from "../authorization/response.ts";
import { splitScope } from "../authorization/scopes.ts";
import { codeOf, factsOf, McpAuthError } from "../errors.ts";
import { receiveCode, useCode } from "../login/browser-request.ts";
import { loginName } from "../login/login-name.ts";
import { findLoginServer } from "../login/login-server.ts";
import { probe } from "../login/probe.ts";
import { dropRefusedClient } from "../login/refused-client.ts";
import { stillHolds } from "../login/server-check.ts";
import type { Session } from "../login/session.ts";
import { loginLock } from "../registration/unanswered.ts";
import { isUnknownClient } from "../registration/unknown-client.ts";
import type { Store } from "../stores/store.ts";
import { lockTimeoutFor } from "../tokens/attempts.ts";
import { areEqual, digestOf } from "./binding.ts";
import { asStored, type FinishedLogin, type PendingLogin, pendingKey, readLogin } from "./pending-login.ts";
import { noteAnswer } from "./sent-away.ts";

/** Who brings a response. */
export interface Visitor {
  /** What their browser has. */
  binding: string | undefined;
  /** Who is signed in there, where the app says so. */
  account?: string | undefined;
}

const inTheSameBrowser = "Start the login again, and finish it in the same browser; it must accept cookies.";
const startAgain = "Start the login again.";

/** A response without a login. Which of the reasons it is, nobody can know: what is over leaves nothing behind. */
function unknownState(serverUrl?: string): McpAuthError {
  const detail = "no login waits for it, because it has ended, has expired, or is of another app";
  return new McpAuthError("state_mismatch", { serverUrl, detail, hint: startAgain });
}

/**
 * The login that a response belongs to, once it is certain that this browser has begun it. Changes nothing: whoever knows a
 * `state` alone cannot end the login.
 *
 * @param visitor asked for when the login is known: a cookie is named after it
 * @throws McpAuthError `state_mismatch` for a response of no login, or of another browser's or account's; `login_timeout`;
 *   `invalid_record`
 */
export async function findLogin(
  store: Store,
  response: URLSearchParams,
  visitor: (stateDigest: string) => Visitor,
  now: number,
): Promise<{ stateDigest: string; login: PendingLogin | FinishedLogin }> {
  const stateDigest = await digestOf(stateOf(response));
  const login = readLogin(await store.get(pendingKey(stateDigest)));
  if (!login) throw unknownState();
  const { serverUrl, account, expiresAt } = login;
  const { binding, account: signedIn } = visitor(stateDigest);
  // Not even the server is named: it is not this visitor's login.
  const wrong = (detail: string) => new McpAuthError("state_mismatch", { detail, hint: inTheSameBrowser });
  if (binding === undefined) throw wrong("this browser has not begun it, or has lost its cookie");
  if (!areEqual(await digestOf(binding), login.binding)) throw wrong("another browser has begun it");
  if (signedIn !== undefined && signedIn !== account) throw wrong("another user has begun it in this browser");
  if (expiresAt <= now) {
    await store.delete(pendingKey(stateDigest));
    throw new McpAuthError("login_timeout", { serverUrl, hint: startAgain });
  }
  return { stateDigest, login };
}

/**
 * Finishes a login, once on whatever machine:
 *
 * 1. takes the login's lock, and its record: of several that bring the response one goes on
 * 2. checks the response, and whether the server's metadata still hold where they were stored before
 * 3. exchanges the code and stores the tokens
 *
 * @returns `isFirst`: whether it has just been finished, not before
 * @throws McpAuthError every code of authorization responses and token requests; `state_mismatch`, `lock_timeout`
 */
export async function finishLogin(
  session: Session,
  response: URLSearchParams,
  stateDigest: string,
): Promise<{ login: FinishedLogin; isFirst: boolean }> {
  const { store, server, options } = session;
  const key = pendingKey(stateDigest);
  const lockTimeout = lockTimeoutFor(options.requestTimeout);
  return store.withLock(
    loginLock(await loginName(session)),
    async () => {
      const known = readLogin(await store.get(key));
      if (known?.kind === "finished") return { login: known, isFirst: false };
      const pending = readLogin(await store.take(key));
      if (pending?.kind !== "pending") throw unknownState(server);
      const scopes = await useResponse(session, response, pending);
      const { v, serverUrl, account, binding, returnTo, expiresAt } = pending;
      const login: FinishedLogin = { v, kind: "finished", serverUrl, account, binding, returnTo, expiresAt, scopes };
      // Without it a second tap gets an error. The login is as good.
      await store.set(key, asStored(login)).catch(() => {});
      return { login, isFirst: true };
    },
    { lockTimeout },
  );
}

/** @returns the granted scopes */
async function useResponse(session: Session, response: URLSearchParams, login: PendingLogin): Promise<readonly string[]> {
  const { emit } = session;
  const { authorization, client, discovery } = login;
  const pending = { ...authorization, state: stateOf(response) };
  try {
    const code = await receive();
    if (login.isDiscoveryStored) await checkServer(session, login);
    const record = await useCode(session, login, client, pending, code);
    const scopes = splitScope(record.scope);
    emit({ type: "login.finished", issuer: discovery.issuer, scopes });
    return scopes;
  } catch (error) {
    if (isUnknownClient(error)) throw await withoutClient(session, login, error);
    throw error;
  }

  async function receive(): Promise<string> {
    // An error is an answer, too: the server knows the client.
    try {
      return receiveCode(session, response, pending);
    } finally {
      await noteAnswer(session, await loginName(session), client);
    }
  }
}

/** @throws McpAuthError `state_mismatch` where the server has moved since its metadata were stored: the code is sent nowhere */
async function checkServer(session: Session, { discovery }: PendingLogin): Promise<void> {
  const { server: serverUrl } = session;
  const { signal } = new AbortController();
  if (await stillHolds(session, discovery, signal)) return;
  // The next login finds what is there now.
  const findAnew = async () => findLoginServer(session, { challenge: await probe(session, signal), signal });
  await findAnew().catch((error: unknown) => {
    if (codeOf(error) === undefined) throw error;
  });
  const detail = "the server has moved to another authorization server meanwhile";
  throw new McpAuthError("state_mismatch", { serverUrl, issuer: discovery.issuer, party: "server", detail, hint: startAgain });
}

/** The server does not know the client any more: the next login registers anew. @returns the error that says so */
async function withoutClient(session: Session, { discovery, begunAt }: PendingLogin, error: McpAuthError): Promise<McpAuthError> {
  try {
    await dropRefusedClient(session, discovery.server, { startedAt: begunAt, isAnswered: true }, error);
  } catch (reason) {
    if (reason instanceof McpAuthError) return reason;
    throw reason;
  }
  const detail = "the registration of this app is not known there any more";
  return new McpAuthError(error.code, { ...factsOf(error), party: error.party, detail, hint: startAgain, cause: error });
}
