import { codeOf, factsOf, InsufficientScopeError, McpAuthError } from "../errors.ts";
import { readJwtClaims } from "../grants/jwt-claims.ts";
import type { Http } from "../http/http.ts";
import type { MachineSession } from "./session.ts";

/** How far two clocks may differ before it is an error, in ms. */
const skewMs = 30_000;

/** What was known when a token request failed. */
interface Circumstances {
  session: MachineSession;
  scopes: readonly string[];
  assertion: string | undefined;
  /** By the answer's `Date`, in ms since 1970. */
  serverTime: number | undefined;
}

/** What a refused token request means for a program. */
export function explained(error: unknown, { session, scopes, assertion, serverTime }: Circumstances): unknown {
  if (!(error instanceof McpAuthError)) return error;
  if (error.serverError === "invalid_scope") {
    const hint = "Ask the operator of the authorization server to allow them to this client.";
    return new InsufficientScopeError(scopes, { ...factsOf(error), party: "authorization-server", hint, cause: error });
  }
  return skewed(error, session, assertion !== undefined, serverTime) ?? refusedAssertion(error, session, assertion) ?? error;
}

/** The assertion that a server refused last: it is never sent again. */
export class RefusedAssertion {
  #last: { assertion: string; error: McpAuthError } | undefined;

  /** @throws McpAuthError why it was refused */
  throwIfRefused(assertion: string): void {
    if (this.#last?.assertion === assertion) throw this.#last.error;
  }

  /** @param cause what the server said: where it refused the client, it said nothing of the assertion */
  note(assertion: string, explanation: unknown, cause: unknown): void {
    if (codeOf(cause) === "invalid_grant" && explanation instanceof McpAuthError) this.#last = { assertion, error: explanation };
  }
}

/** What is signed holds times, which a clock that is wrong makes wrong. */
function skewed(
  error: McpAuthError,
  { clock, options }: MachineSession,
  isAsserted: boolean,
  serverTime: number | undefined,
): McpAuthError | undefined {
  const isSigned = codeOf(error) === "invalid_client" ? options.privateKey !== undefined : codeOf(error) === "invalid_grant" && isAsserted;
  if (!isSigned || serverTime === undefined) return undefined;
  const aheadMs = clock.now() - serverTime;
  if (Math.abs(aheadMs) <= skewMs) return undefined;
  const minutes = (Math.abs(aheadMs) / 60_000).toFixed(1);
  const detail = `it is ${minutes} minutes ${aheadMs > 0 ? "ahead of" : "behind"} the authorization server's`;
  return new McpAuthError("clock_skewed", { ...factsOf(error), detail, cause: error });
}

function refusedAssertion(error: McpAuthError, { clock }: MachineSession, assertion: string | undefined): McpAuthError | undefined {
  if (codeOf(error) !== "invalid_grant" || assertion === undefined) return undefined;
  const { expiresAt = Infinity } = readJwtClaims(assertion) ?? {};
  const detail = expiresAt < clock.now() ? `it expired at ${new Date(expiresAt).toISOString()}` : undefined;
  return new McpAuthError("invalid_assertion", { ...factsOf(error), detail, cause: error });
}

/** The same `Http`, which remembers what time it is at the server. */
export function watchingTime(http: Http): { http: Http; serverTime(): number | undefined } {
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
