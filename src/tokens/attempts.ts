import { isTransient, type McpAuthError } from "../errors.ts";
import { type Http, spendingMs } from "../http/http.ts";
import type { ServerSession } from "./session.ts";
import { tokenHttp } from "./token-requests.ts";

const maxAttempts = 3;

/** Time for the last repetition, in ms. */
const leastMs = 5000;

/** Time for a token request with all its repetitions, in ms: at least one of full length. */
export const tokenRequestLimit = (requestTimeout = 0) => Math.max(requestTimeout, spendingMs);

/**
 * How long others wait for the lock under which a token request is sent, in ms: longer than that takes, metadata included. By
 * default shorter than a request of the SDKs, 60 s.
 */
export const lockTimeoutFor = (requestTimeout?: number) => tokenRequestLimit(requestTimeout) + 10_000;

/**
 * Sends a token request until there is an answer.
 *
 * What was sent but not answered is repeated at once: servers with a grace window give the same answer again. What may still be
 * answered is not repeated. Busy servers are given time. No caller's signal reaches this far: others wait for the same answer.
 *
 * @param send one attempt, by the `http` that it is given
 * @param check throws where nothing may be sent any more
 * @throws McpAuthError what `send` throws, after bounded repetition
 */
export async function attempts<T>(
  session: ServerSession,
  issuer: string,
  send: (http: Http) => Promise<T>,
  check?: () => void,
): Promise<T> {
  const { clock, emit, options } = session;
  let endsAt: number | undefined;
  // The time begins with the first request that is sent, or fails before that.
  const leftMs = () => {
    endsAt ??= clock.now() + tokenRequestLimit(options.requestTimeout);
    return endsAt - clock.now();
  };
  const http = tokenHttp(session, issuer, () => {
    check?.();
    return Math.max(leftMs(), leastMs);
  });
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(http);
    } catch (error) {
      if (!isTransient(error) || attempt === maxAttempts || isOpen(error)) throw error;
      const waitMs = pause(error, attempt);
      if (waitMs > leftMs()) throw error;
      emit({ type: "refresh.repeated", issuer, attempt, waitMs, code: error.code });
      await clock.sleep(waitMs);
    }
  }
}

/** Whether the server may have done what was asked, and would take a repetition for the theft of a token. */
function isOpen({ code, party }: McpAuthError): boolean {
  return code === "timeout" && party !== "app";
}

/** How long to wait before the next attempt, in ms: what the server asks, else exponential with jitter. */
function pause({ code, retryAfterMs }: McpAuthError, attempt: number): number {
  if (attempt === 1 && (code === "network_error" || code === "timeout")) return 0;
  return retryAfterMs ?? 500 * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
}
