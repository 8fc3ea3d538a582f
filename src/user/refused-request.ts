import { abortable, SingleFlight } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import type { CredentialRequest } from "../credential.ts";
import type { Challenge } from "../discovery/challenge.ts";
import { discoverProtectedResource } from "../discovery/resource-metadata.ts";
import { isSameIssuer } from "../discovery/server-metadata.ts";
import { codeOf, McpAuthError } from "../errors.ts";
import type { LoginPrompt } from "../login/prompt.ts";
import type { Session } from "../login/session.ts";
import { demandsOf, isLoginTooOld, StepUpMemory } from "../login/step-up.ts";
import { remember } from "../tokens/session.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { CurrentToken } from "./current-token.ts";

/** What to do about requests that the protected server refused. */
export class RefusedRequest {
  readonly #session: Session;
  readonly #token: CurrentToken;
  readonly #prompt: LoginPrompt;
  readonly #checkingMove = new SingleFlight<boolean>();
  readonly #stepUps = new StepUpMemory();

  constructor(session: Session, token: CurrentToken, prompt: LoginPrompt) {
    this.#session = session;
    this.#token = token;
    this.#prompt = prompt;
  }

  /** 401: another token, by what costs least: one that is here already, a refresh, a login of somebody else, a login. */
  async onRefusedToken(challenge: Challenge, refused: string | undefined, request: CredentialRequest): Promise<"retry" | "give-up"> {
    const token = this.#token;
    await token.load(request.signal);
    // A late refusal of an old token says nothing about the newer one.
    if (token.isOtherThan(refused)) return "retry";

    let movedFrom: string | undefined;
    const { record } = token;
    if (record && refused !== undefined && token.bearer === refused) {
      if (token.origin === "login" && !token.accepted) {
        remember(this.#session, new McpAuthError("token_refused", { serverUrl: this.#session.server, issuer: record.issuer, status: 401 }));
        return "give-up";
      }
      const refreshing = token.origin === "refresh" && !token.accepted ? undefined : this.#refresh(request.signal);
      // The server may have moved to another authorization server, which a refresh at the old one would not show.
      const checking = abortable(
        this.#checkingMove.run(() => this.#hasMoved(challenge, record)),
        request.signal,
      );
      refreshing?.catch(() => {});
      // Where it has moved, the old server's word, or silence, does not count.
      if (await checking) movedFrom = record.issuer;
      else {
        await refreshing;
        if (token.isOtherThan(refused)) return "retry";
      }
    }
    // Another manager or process may have logged in meanwhile.
    if (!movedFrom && !this.#prompt.running) await token.reload();
    if (!movedFrom && token.isOtherThan(refused)) return "retry";

    // A stream that reconnects at night opens no browser.
    if (request.method !== "POST") throw token.loginRequired();
    if (this.#prompt.isPossible) this.#prompt.throwIfRefused();
    return this.#prompt.waitFor(this.#prompt.ask({ challenge, known: token.record ?? record, movedFrom }), request.signal);
  }

  /**
   * 403 for lack of scopes, 401 for an authentication that is too weak or too old (RFC 9470): a refresh would change
   * neither. A login with more of them, within limits (REQ-STEP-03).
   *
   * @param insufficient what to say where there is nobody to ask
   */
  async onInsufficientLogin(
    challenge: Challenge,
    insufficient: McpAuthError,
    refused: string | undefined,
    request: CredentialRequest,
  ): Promise<"retry" | "give-up"> {
    const { clock, emit } = this.#session;
    // Another manager or process may have asked the user.
    if (!this.#token.isOtherThan(refused)) await abortable(this.#token.reload(), request.signal);
    if (this.#token.isOtherThan(refused)) return "retry";
    const { record } = this.#token;
    const { running } = this.#prompt;
    if (running) return this.#prompt.waitFor(running, request.signal);

    if (request.method !== "POST" || !this.#prompt.isPossible) throw insufficient;
    const wanted = demandsOf(challenge);
    const refusal = this.#stepUps.refusal(wanted, clock.now());
    if (refusal) throw refusal;
    const cause = `${challenge.error} ${wanted.join(" ")}\n${request.operation}`;
    if (isLoginTooOld(challenge, record?.loggedInAt, clock.now())) this.#stepUps.forgive(cause);
    const attempt = this.#stepUps.attempt(cause, clock.now());
    if (attempt === undefined) {
      remember(this.#session, insufficient);
      return "give-up";
    }
    const scopes = splitScope(challenge.scope);
    const { acrValues, maxAge } = challenge;
    emit({ type: "step-up.started", scopes, ...(acrValues && { acrValues }), ...(maxAge && { maxAge }), attempt });
    const stepUp = this.#prompt.ask({ challenge, known: record, scopes });
    stepUp.catch((error: unknown) => {
      if (codeOf(error)?.startsWith("authorization_")) this.#stepUps.refuse(wanted, error as McpAuthError, clock.now());
    });
    return this.#prompt.waitFor(stepUp, request.signal);
  }

  /** A final refusal is no failure here: what follows it is a login. So is a long outage of the token endpoint. */
  async #refresh(signal: AbortSignal | undefined): Promise<void> {
    try {
      await abortable(this.#token.refresh({ reason: "refused" }), signal);
    } catch (error) {
      if (!this.#token.isInOutage || !this.#prompt.isPossible) throw error;
    }
  }

  async #hasMoved(challenge: Challenge, { issuer }: TokenRecord): Promise<boolean> {
    const { serverUrl, http, clock, options } = this.#session;
    try {
      const resource = await discoverProtectedResource(serverUrl, { http, clock, challenge });
      return resource?.authorizationServers.every((name) => !isSameIssuer(name, issuer, options.strictIssuer)) ?? false;
    } catch {
      return false;
    }
  }
}
