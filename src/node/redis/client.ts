/** What a client of `redis` does: `createClient`, `createClientPool`. */
export interface NodeRedisClient {
  /** Sends a command; its answer. */
  sendCommand(args: string[], options?: { abortSignal?: AbortSignal }): Promise<unknown>;
}

/** What a client of `redis` does for a cluster: `createCluster`. */
export interface NodeRedisCluster {
  /** Sends a command to the node that holds the key; its answer. */
  sendCommand(firstKey: string, isReadonly: boolean, args: string[], options?: { abortSignal?: AbortSignal }): Promise<unknown>;
  /** The nodes that hold keys. */
  readonly masters: readonly object[];
  /** The client of one node. */
  nodeClient(node: object): Promise<NodeRedisClient>;
}

/** What a client of `ioredis` does: `Redis`. */
export interface IoredisClient {
  /** Sends a command; its answer. */
  call(command: string, ...args: string[]): Promise<unknown>;
}

/** What a client of `ioredis` does for a cluster: `Cluster`. */
export interface IoredisCluster extends IoredisClient {
  /** The clients of the nodes that hold keys. */
  nodes(role: "master"): IoredisClient[];
}

/** A client that the app has made and connected. Anything with the same functions will do. */
export type RedisClient = NodeRedisClient | NodeRedisCluster | IoredisClient | IoredisCluster;

/** Sends one command. What was not sent when `signal` aborts need not be sent any more. */
export type Send = (command: readonly string[], signal: AbortSignal) => Promise<unknown>;

/** All kinds of clients as one. */
export interface Connection {
  /** Sends a command to the node that holds this key. */
  to(key: string): Send;
  /** One for each node that holds keys. */
  nodes(): Promise<Send[]>;
}

/** `undefined` when it is no client that can be used. */
export function connectionOf(client: unknown): Connection | undefined {
  if (typeof client !== "object" || client === null) return undefined;
  const can = (name: string) => typeof Reflect.get(client, name) === "function";
  // A sentinel's `sendCommand` takes other arguments; ioredis has no client of its own for it.
  if (can("getMasterNode")) return undefined;
  if (can("sendCommand") && can("nodeClient")) return nodeRedisCluster(client as NodeRedisCluster);
  // First: some clients of ioredis' kind have a `sendCommand` for commands as objects.
  if (can("call") && !hasKeyPrefix(client))
    return can("nodes") ? ioredisCluster(client as IoredisCluster) : single(ioredis(client as IoredisClient));
  return can("sendCommand") && !can("call") ? single(nodeRedis(client as NodeRedisClient)) : undefined;
}

/** ioredis adds it to the keys of all commands but SCAN: nothing would be found. */
function hasKeyPrefix(client: object): boolean {
  return Boolean(Reflect.get(Object(Reflect.get(client, "options")), "keyPrefix"));
}

const single = (send: Send): Connection => ({ to: () => send, nodes: async () => [send] });

const nodeRedis =
  (client: NodeRedisClient): Send =>
  (command, abortSignal) =>
    client.sendCommand([...command], { abortSignal });

const ioredis =
  (client: IoredisClient): Send =>
  ([name = "", ...args]) =>
    client.call(name, ...args);

function nodeRedisCluster(cluster: NodeRedisCluster): Connection {
  return {
    to: (key) => (command, abortSignal) => cluster.sendCommand(key, false, [...command], { abortSignal }),
    nodes: () => Promise.all(cluster.masters.map(async (node) => nodeRedis(await cluster.nodeClient(node)))),
  };
}

function ioredisCluster(cluster: IoredisCluster): Connection {
  const send = ioredis(cluster);
  return { to: () => send, nodes: async () => cluster.nodes("master").map(ioredis) };
}
