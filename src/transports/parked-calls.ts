import { McpAuthError } from "../errors.ts";
import type { Outgoing } from "./request.ts";

/**
 * Calls that wait for new credentials, so that one whose sender has given up is never sent.
 *
 * The official SDKs do not abort the `fetch` of a request that timed out: they send `notifications/cancelled` for it
 * and forget it. That notification is recognised here. Request IDs are unique only within a transport; its calls
 * share an abort signal.
 */
export class ParkedCalls {
  readonly #calls = new Set<{ request: Outgoing; give: (error: McpAuthError) => void }>();

  /** Waits for `action`, unless the call is cancelled first; the action itself goes on for others. */
  async during<T>(request: Outgoing, action: () => Promise<T>): Promise<T> {
    const { promise: cancelled, reject: give } = Promise.withResolvers<never>();
    const call = { request, give };
    this.#calls.add(call);
    try {
      return await Promise.race([action(), cancelled]);
    } finally {
      this.#calls.delete(call);
    }
  }

  /** Whether `request` only cancels a call that was never sent; that call is given up. */
  cancel(request: Outgoing): boolean {
    if (this.#calls.size === 0 || !request.text?.includes("notifications/cancelled")) return false;
    const notification = json(request.text);
    if (notification?.method !== "notifications/cancelled") return false;
    for (const call of this.#calls) {
      if (call.request.signal !== request.signal || !request.signal || json(call.request.text)?.id !== notification.params?.requestId)
        continue;
      call.give(new McpAuthError("login_pending", { serverUrl: request.url.href, detail: "the request was cancelled meanwhile" }));
      return true;
    }
    return false;
  }
}

function json(text: string | undefined): { id?: unknown; method?: unknown; params?: { requestId?: unknown } } | undefined {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
