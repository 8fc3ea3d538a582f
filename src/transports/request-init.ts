import { McpAuthError } from "../errors.ts";

/** A `requestInit` whose headers are always current. Pass the object itself: a copy would keep the token of that moment. */
export interface LiveRequestInit {
  /** The SDK's transports read this for each request. @throws McpAuthError `login_required` without a valid token */
  readonly headers: Record<string, string>;
  /** Ends it: `headers` throw from now on. */
  dispose(): void;
}

/**
 * Makes a `requestInit` with a getter for its headers.
 *
 * @param current returns the current headers, synchronously
 * @see the SDK transports' option `requestInit`: a plain object, read anew for each request
 */
export function liveRequestInit(current: () => Record<string, string>): LiveRequestInit {
  let read = current;
  return {
    get headers() {
      return read();
    },
    dispose() {
      read = () => {
        throw new McpAuthError("disposed", { detail: "requestInit" });
      };
    },
  };
}
