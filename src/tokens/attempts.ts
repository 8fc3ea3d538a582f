import { deadline } from "../async.ts";
import { isTransient, McpAuthError } from "../errors.ts";
import { spendingMs } from "../http/http.ts";
import type { ServerSession } from "./session.ts";

const maxAttempts = 3;

/** Time for a token request with all its repetitions, in ms: at least one of full length. */
const limitOf = (requestTimeout = 0) => Math.max(requestTimeout, spendingMs);

/**
 * How long others wait for the lock under which a token request is sent, in ms: longer than that takes, metadata included. By
 * default shorter than a request of the SDKs, 60 s.
 */
export const lockTimeoutFor = (requestTimeout?: number) => limitOf(requestTimeout) + 10_000;

/**
 * Sends a token request until there is an answer.
 *
 * What was sent but not answered is repeated at once: servers with a grace window give the same answer again. Busy
 * servers are given time. No caller's signal reaches this far: others wait for the same answer.
 *
 * @param send one attempt
 * @throws McpAuthError what `send` throws, after bounded repetition; `timeout`
 */
export async function attempts<T>(session: ServerSession, issuer: string, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, emit, server: serverUrl, options } = session;
  const limitMs = limitOf(options.requestTimeout);
  const { signal, stop } = deadline(
    clock,
    limitMs,
    () =>
      new McpAuthError("timeout", {
        serverUrl,
        issuer,
        party: "authorization-server",
        detail: `the token request, ${limitMs} ms with its repetitions`,
      }),
  );
  const endsAt = clock.now() + limitMs;
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send(signal);
      } catch (error) {
        if (!isTransient(error) || attempt === maxAttempts) throw error;
        const waitMs = pause(error, attempt);
        if (signal.aborted || clock.now() + waitMs > endsAt) throw error;
        emit({ type: "refresh.repeated", issuer, attempt, waitMs, code: error.code });
        await clock.sleep(waitMs);
      }
    }
  } finally {
    stop();
  }
}

/** How long to wait before the next attempt, in ms: what the server asks, else exponential with jitter. */
function pause({ code, retryAfterMs }: McpAuthError, attempt: number): number {
  if (attempt === 1 && (code === "network_error" || code === "timeout")) return 0;
  return retryAfterMs ?? 500 * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
}
