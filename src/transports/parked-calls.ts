import { McpAuthError } from "../errors.ts";
import type { Outgoing } from "./request.ts";

/**
 * Calls that have no answer yet, so that one whose sender has given up is not sent any more.
 *
 * The official SDKs do not abort the `fetch` of a request that timed out: they send `notifications/cancelled` for it
 * and forget it. That notification is recognised here. Request IDs are unique only within a transport; its calls
 * share an abort signal.
 */
export class ParkedCalls {
  readonly #calls = new Set<Call>();

  /** Follows a call until `end`. */
  begin(request: Outgoing): Call {
    const call = new Call(request);
    this.#calls.add(call);
    return call;
  }

  end(call: Call): void {
    this.#calls.delete(call);
  }

  /** Whether `request` cancels a call that waits, and that nobody else need hear of. One that was sent is not repeated. */
  cancel(request: Outgoing): boolean {
    if (this.#calls.size === 0 || !request.signal || !request.text?.includes("notifications/cancelled")) return false;
    const notification = json(request.text);
    if (notification?.method !== "notifications/cancelled") return false;
    for (const call of this.#calls) {
      if (call.request.signal !== request.signal || json(call.request.text)?.id !== notification.params?.requestId) continue;
      call.give(new McpAuthError("login_pending", { serverUrl: request.url.href, detail: "the request was cancelled meanwhile" }));
      return call.isParked;
    }
    return false;
  }
}

/** One call, from before its first try to its answer. */
export class Call {
  readonly request: Outgoing;
  /** Whether it waits for credentials, and the server works on no try of it. */
  isParked = false;
  readonly #cancelled = Promise.withResolvers<never>();
  #error: McpAuthError | undefined;

  constructor(request: Outgoing) {
    this.request = request;
    this.#cancelled.promise.catch(() => {});
  }

  give(error: McpAuthError): void {
    this.#error = error;
    this.#cancelled.reject(error);
  }

  /** Waits for `action`, unless the call is cancelled; the action itself goes on for others. */
  async during<T>(action: () => Promise<T>): Promise<T> {
    if (this.#error) throw this.#error;
    this.isParked = true;
    try {
      return await Promise.race([action(), this.#cancelled.promise]);
    } finally {
      this.isParked = false;
    }
  }
}

function json(text: string | undefined): { id?: unknown; method?: unknown; params?: { requestId?: unknown } } | undefined {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
