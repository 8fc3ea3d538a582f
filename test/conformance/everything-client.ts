/**
 * One MCP client for every `auth/*` client scenario of the official conformance suite, and an example of a whole program:
 * it logs in, lists tools, calls each, and goes.
 *
 * The suite names the server in the last argument and describes the rest in the environment. No scenario has code of its
 * own here: what a server wants is found out from the server. Where a scenario's server must not be trusted, the program
 * ends with the error that says why, and exit code 0: to refuse is what is asked there.
 */
import { Client as CurrentClient, StreamableHTTPClientTransport as CurrentTransport } from "@modelcontextprotocol/client";
import { Client as OlderClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OlderTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { discoverAuthorizationServer, discoverProtectedResource, McpAuthError, MemoryStore, type TokenManager } from "mcp-client-auth";
import { type AssertionSource, enterpriseManaged, MachineTokenManager } from "mcp-client-auth/machine";
import { createMcpAuth, type McpAuthOptions } from "mcp-client-auth/node";

type Auth = TokenManager | MachineTokenManager;

/** What is arranged beforehand: credentials, for the scenarios that have some. */
interface Context {
  client_id?: string;
  client_secret?: string;
  issuer?: string;
  private_key_pem?: string;
  signing_algorithm?: string;
  /** The company's identity provider, and who has logged in there. */
  idp_client_id?: string;
  idp_id_token?: string;
  idp_issuer?: string;
  idp_token_endpoint?: string;
  /** What the platform says of this workload. */
  valid_jwt?: string;
}

const { MCP_CONFORMANCE_PROTOCOL_VERSION: protocolVersion = "2025-11-25", MCP_CONFORMANCE_CONTEXT = "{}" } = process.env;
const serverUrl = process.argv.at(-1) ?? "";
const context = JSON.parse(MCP_CONFORMANCE_CONTEXT) as Context;
const info = { name: "everything-client", version: "1.0.0" };

/** The user: the suite's authorization page redirects at once, to the place where this program listens. */
async function visit(url: URL): Promise<void> {
  const page = await fetch(url, { redirect: "manual" });
  const location = page.headers.get("location");
  if (!location) throw new Error(`The authorization page answered ${page.status}`);
  await fetch(new URL(location, url));
}

/** Uses the server as the revision 2026-07-28 has it. */
async function useCurrent(auth: Auth): Promise<void> {
  const client = new CurrentClient(info, { versionNegotiation: { mode: { pin: protocolVersion } } });
  await client.connect(new CurrentTransport(auth.serverUrl, { fetch: auth.fetch }));
  const { tools } = await client.listTools();
  for (const { name } of tools) await client.callTool({ name, arguments: {} });
  await client.close();
}

/** Uses the server as 2025-11-25 and older revisions have it. */
async function useOlder(auth: Auth): Promise<void> {
  const client = new OlderClient(info);
  // The SDK's own class does not fit its interface under `exactOptionalPropertyTypes`.
  await client.connect(new OlderTransport(auth.serverUrl, { fetch: auth.fetch }) as Transport);
  const { tools } = await client.listTools();
  for (const { name } of tools) await client.callTool({ name, arguments: {} });
  await client.close();
}

const onEvent = ({ type, ...details }: { type: string }) => console.log(type, JSON.stringify(details));

/** Who this program is: a client that was arranged beforehand, or a stranger whose metadata lie at a URL. */
function client(): Pick<McpAuthOptions, "clientId" | "clientSecret" | "clientMetadataUrl"> {
  const { client_id: clientId, client_secret: clientSecret } = context;
  if (clientId) return { clientId, clientSecret };
  // Used where the authorization server supports client ID metadata documents, and nowhere else.
  return { clientMetadataUrl: "https://conformance-test.local/client-metadata.json" };
}

/** A user, as far as there is one to log in. */
function asUser(): TokenManager {
  return createMcpAuth(serverUrl, {
    // Every scenario is a stranger, even on a port that another one had.
    store: new MemoryStore(),
    clientName: "Everything client",
    ...client(),
    issuer: context.issuer,
    // The suite counts a request to a lower-ranking place of metadata as a failure, also one that is made to save time.
    speculate: false,
    interactive: true,
    openBrowser: visit,
    print: () => {},
    onEvent,
  });
}

/** A program, with what was arranged for it. */
function asMachine(): MachineTokenManager {
  const { client_id: clientId, client_secret: clientSecret, private_key_pem: privateKey, signing_algorithm: signingAlgorithm } = context;
  const assertion = assertionSource();
  // Without credentials of its own a workload is whoever its assertion names.
  const isWorkload = context.valid_jwt !== undefined;
  return new MachineTokenManager({
    serverUrl,
    clientId: isWorkload ? undefined : clientId,
    clientSecret,
    privateKey,
    signingAlgorithm,
    assertion,
    onEvent,
  });
}

function assertionSource(): AssertionSource | undefined {
  const { valid_jwt: jwt, idp_id_token: subjectToken, idp_client_id: clientId, idp_issuer: issuer, idp_token_endpoint } = context;
  if (jwt) return () => jwt;
  if (!subjectToken || !clientId) return undefined;
  return enterpriseManaged({ issuer, tokenEndpoint: idp_token_endpoint, clientId, subjectToken });
}

/** Whether what was arranged is for a program: a key, an assertion, or a client at a server that lets nobody else in. */
async function isMachine(): Promise<boolean> {
  if (context.private_key_pem || context.valid_jwt || context.idp_id_token) return true;
  if (!context.client_secret) return false;
  const resource = await discoverProtectedResource(serverUrl);
  const [issuer = new URL(serverUrl).origin] = resource?.authorizationServers ?? [];
  const { grant_types_supported: grants } = await discoverAuthorizationServer(issuer);
  return grants !== undefined && !grants.includes("authorization_code");
}

const auth = (await isMachine()) ? asMachine() : asUser();

try {
  await (protocolVersion >= "2026-07-28" ? useCurrent : useOlder)(auth);
  console.log("Every tool was called.");
} catch (error) {
  if (!(error instanceof McpAuthError)) throw error;
  console.log(`${error.code}: ${error.message}`);
} finally {
  await auth.dispose();
}
