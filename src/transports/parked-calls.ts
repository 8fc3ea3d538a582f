import { abortable } from "../async.ts";
import { McpAuthError } from "../errors.ts";
import { members } from "../http/json.ts";
import type { Outgoing } from "./request.ts";

/**
 * Whether `request` cancels one of `calls` that waits, so that it is not sent any more, and that nobody else need hear
 * of. One that was sent is not repeated.
 *
 * The official SDKs do not abort the `fetch` of a request that timed out: they send `notifications/cancelled` for it
 * and forget it. That notification is recognised here. Request IDs are unique only within a transport; its calls
 * share an abort signal.
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

/** One call, from before its first try to its answer. */
export class Call {
  readonly request: Outgoing;
  /** Whether it waits for credentials, and the server works on no try of it. */
  isParked = false;
  readonly #cancelled = new AbortController();

  constructor(request: Outgoing) {
    this.request = request;
  }

  cancel(reason: McpAuthError): void {
    this.#cancelled.abort(reason);
  }

  /** Waits for `action`, unless the call is cancelled; the action itself goes on for others. */
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
