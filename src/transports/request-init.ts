import { McpAuthError } from "../errors.ts";

/** A `requestInit` whose headers are always current. Pass the object itself: a copy keeps the token of the moment. */
export interface LiveRequestInit {
  /** Read by the SDK's transports at every request. @throws McpAuthError `login_required` without a valid token */
  readonly headers: Record<string, string>;
  /** After this the headers cannot be read any more. */
  dispose(): void;
}

/**
 * @param current the headers of now, without waiting
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
