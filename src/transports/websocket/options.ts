import type { Clock } from "../../clock.ts";
import type { Credential } from "../../credential.ts";
import { callback, clock, credential, type Idle, type Rules, texts } from "../../options.ts";
import { type HandshakeOptions, handshakeRules, type OpenWebSocket } from "./handshake.ts";

/** Options of `WebSocketTransport`. */
export interface WebSocketTransportOptions extends HandshakeOptions {
  /** Authorises the handshake: any credential of this package. Default: none. */
  credential?: Credential | undefined;
  /** Opens the connection. Default: the global `WebSocket`. */
  webSocket?: OpenWebSocket | undefined;
  /** Sends the request that asks why a handshake was refused. Default: the global `fetch`. The credential's `send` comes first. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Host names to which plain ws is allowed, besides loopback. Others on the network can read the credential. */
  allowInsecure?: readonly string[] | undefined;
  /** Time, replaceable in tests. Default: `systemClock`. */
  clock?: Clock | undefined;
}

export const webSocketRules = (): Rules<WebSocketTransportOptions> => ({
  ...handshakeRules(),
  credential: credential(),
  webSocket: callback,
  fetch: callback,
  allowInsecure: texts,
  clock: clock(),
});

export const idleWebSocketOptions: Idle<WebSocketTransportOptions> = [["query", "subprotocol"]];
