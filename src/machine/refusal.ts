import { codeOf, factsOf, InsufficientScopeError, McpAuthError } from "../errors.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import type { Http } from "../http/http.ts";
import type { MachineSession } from "./session.ts";

/** Clocks that differ by more than this, in ms, are reported as the cause. */
const skewMs = 30_000;

/** The token request that failed. */
interface FailedRequest {
  session: MachineSession;
  scopes: readonly string[];
  assertion: string | undefined;
  /** From the response's `Date` header, in ms since 1970. */
  serverTime: number | undefined;
}

/** Names the cause of a refused token request as precisely as is known. */
export function explainRefusal(error: unknown, { session, scopes, assertion, serverTime }: FailedRequest): unknown {
  if (!(error instanceof McpAuthError)) return error;
  if (error.serverError === "invalid_scope") {
    const hint = "Ask the operator of the authorization server to allow them to this client.";
    return new InsufficientScopeError(scopes, { ...factsOf(error), party: "authorization-server", hint, cause: error });
  }
  return clockSkewError(error, session, assertion !== undefined, serverTime) ?? assertionError(error, session, assertion) ?? error;
}

/** Remembers the last assertion that the server refused, so that it is never sent again. */
export class RefusedAssertion {
  #last: { assertion: string; error: McpAuthError } | undefined;

  /** @throws McpAuthError why it was refused */
  throwIfRefused(assertion: string): void {
    if (this.#last?.assertion === assertion) throw this.#last.error;
  }

  /** @param cause the server's error: `invalid_client` refuses the client and says nothing about the assertion */
  note(assertion: string, explanation: unknown, cause: unknown): void {
    if (codeOf(cause) === "invalid_grant" && explanation instanceof McpAuthError) this.#last = { assertion, error: explanation };
  }
}

/** `clock_skewed` when a signed JWT was refused and the clocks differ: with a wrong clock its times are wrong. */
function clockSkewError(
  error: McpAuthError,
  { clock, options }: MachineSession,
  hasAssertion: boolean,
  serverTime: number | undefined,
): McpAuthError | undefined {
  const isJwtRefused =
    codeOf(error) === "invalid_client" ? options.privateKey !== undefined : codeOf(error) === "invalid_grant" && hasAssertion;
  if (!isJwtRefused || serverTime === undefined) return undefined;
  const aheadMs = clock.now() - serverTime;
  if (Math.abs(aheadMs) <= skewMs) return undefined;
  const minutes = (Math.abs(aheadMs) / 60_000).toFixed(1);
  const detail = `it is ${minutes} minutes ${aheadMs > 0 ? "ahead of" : "behind"} the authorization server's`;
  return new McpAuthError("clock_skewed", { ...factsOf(error), detail, cause: error });
}

function assertionError(error: McpAuthError, { clock }: MachineSession, assertion: string | undefined): McpAuthError | undefined {
  if (codeOf(error) !== "invalid_grant" || assertion === undefined) return undefined;
  const { expiresAt = Infinity } = readJwtClaims(assertion) ?? {};
  const detail = expiresAt < clock.now() ? `it expired at ${new Date(expiresAt).toISOString()}` : undefined;
  return new McpAuthError("invalid_assertion", { ...factsOf(error), detail, cause: error });
}

/** An `Http` that notes the server's time from each response. */
export function watchServerTime(http: Http): { http: Http; serverTime(): number | undefined } {
  let date: string | null = null;
  const watching: Http = {
    ...http,
    async fetch(url, init) {
      const response = await http.fetch(url, init);
      date = response.headers.get("date");
      return response;
    },
  };
  return {
    http: watching,
    serverTime() {
      const time = Date.parse(date ?? "");
      return Number.isNaN(time) ? undefined : time;
    },
  };
}
