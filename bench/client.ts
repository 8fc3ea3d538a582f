import type { ClientRequest, ProtectedServer } from "../test/fixture/index.ts";

/** One of the clients that are compared. */
export interface BenchClient {
  name: string;
  /** A new user of this client, without a login. */
  start(server: ProtectedServer): Promise<User>;
}

/** A user and what the client remembers of them: registration, tokens. */
export interface User extends AsyncDisposable {
  /** Starts so many processes for the connections that follow, where a connection has one that can wait. */
  prepare?(count: number): Promise<void>;
  /** A new transport (or process) to the server; the first one logs in. */
  connect(): Promise<Connection>;
  /** Makes the client believe that its access token has expired, if it looks at that at all. */
  expireToken(): void;
  /** Whether the user answers when a browser window opens. `true` at the start. */
  present: boolean;
  /** Browser windows opened so far. */
  readonly windows: number;
  /** Every request of the client and its user; `undefined` when only the servers can tell. */
  readonly log: ClientRequest[] | undefined;
}

export interface Connection {
  /** Calls a tool. Rejects when the call fails. */
  call(): Promise<unknown>;
  close(): Promise<void>;
}

/** How long a call may take before it counts as failed, in ms. */
export const callTimeoutMs = 15_000;

/** What both official SDKs' clients have in common. */
export interface ToolCaller {
  callTool(parameters: { name: string; arguments: Record<string, unknown> }, ...more: never[]): Promise<unknown>;
  close(): Promise<void>;
}

/** A tool call as a promise that fails in time, whatever the client does. */
export function connection(client: ToolCaller): Connection {
  return {
    async call() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error("no answer in time")), callTimeoutMs);
      });
      try {
        return await Promise.race([client.callTool({ name: "count", arguments: { id: "bench" } }), late]);
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => client.close(),
  };
}
