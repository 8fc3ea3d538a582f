import { ClientCredentialsProvider as ProviderV2 } from "@modelcontextprotocol/client";
import { ClientCredentialsProvider as ProviderV1 } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { type Store, systemClock } from "mcp-client-auth";
import { MachineTokenManager } from "mcp-client-auth/machine";
import { type Connection, connection } from "./client.ts";
import { connectOurs } from "./ours.ts";
import { type Sdk, sdks } from "./sdk.ts";

/** A program that the authorization server knows. */
export const robot = { clientId: "bench-robot", clientSecret: "the-secret-of-the-robot" };

const scope = "mcp:read";

export type MachineKind = "ours" | "v1" | "v2";

/** Where a program goes, and what it has. */
export interface Surroundings {
  url: string;
  issuer: string;
  /** Of ours: the SDKs' providers keep tokens in memory only. */
  store?: Store | undefined;
  /** How far its clock is ahead, in ms; the SDKs do not look at it. */
  aheadMs: () => number;
}

/** What connects, again and again, with the credentials of one program. */
export function machineClient(kind: MachineKind, { url, issuer, store, aheadMs }: Surroundings): () => Promise<Connection> {
  if (kind === "ours") {
    const clock = { ...systemClock, now: () => Date.now() + aheadMs() };
    const auth = new MachineTokenManager({ serverUrl: url, ...robot, scopes: [scope], store, clock });
    return () => connectOurs(auth);
  }
  // Without it that of v1 asks for no scope at all.
  const options = { ...robot, scope, expectedIssuer: issuer };
  const provider = kind === "v1" ? new ProviderV1(options) : new ProviderV2(options);
  return () => connectSdk(sdks[kind], url, provider);
}

async function connectSdk({ Client, StreamableHTTPClientTransport }: Sdk, url: string, provider: object): Promise<Connection> {
  const client = new Client({ name: "bench", version: "1" });
  const fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init);
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider: provider as never, fetch }));
  return connection(client);
}
