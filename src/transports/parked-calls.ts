import { abortable } from "../async.ts";
import { McpAuthError } from "../errors.ts";
import { members } from "../http/json.ts";
import type { Outgoing } from "./request.ts";

/**
 * Cancels the call that `request` is a cancellation of: it is not sent, or not sent again.
 *
 * The official SDKs do not abort the `fetch` of a request that timed out: they send `notifications/cancelled` and forget it.
 * Request IDs are unique only within a transport, so the abort signal is compared as well: all calls of a transport share it.
 *
 * @returns whether the call was waiting for credentials: then the server need not get the notification
 */
export function cancelParked(calls: Iterable<Call>, request: Outgoing): boolean {
  if (!request.signal || !request.text?.includes("notifications/cancelled")) return false;
  const { method, params } = members(request.text);
  if (method !== "notifications/cancelled") return false;
  for (const call of calls) {
    if (call.request.signal !== request.signal || members(call.request.text ?? "").id !== Object(params).requestId) continue;
    call.cancel(new McpAuthError("login_pending", { serverUrl: request.url.href, detail: "the client has cancelled it" }));
    return call.isParked;
  }
  return false;
}

/** One call, from before its first try to its response. */
export class Call {
  readonly request: Outgoing;
  /** Whether it waits for credentials, so that the server is not working on it. */
  isParked = false;
  readonly #cancelled = new AbortController();

  constructor(request: Outgoing) {
    this.request = request;
  }

  cancel(reason: McpAuthError): void {
    this.#cancelled.abort(reason);
  }

  /** Waits for `action` until the call is cancelled. The action itself goes on for other callers. */
  async during<T>(action: () => Promise<T>): Promise<T> {
    const { signal } = this.#cancelled;
    signal.throwIfAborted();
    this.isParked = true;
    try {
      return await abortable(action(), signal);
    } finally {
      this.isParked = false;
    }
  }
}
