import * as v2 from "@modelcontextprotocol/client";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { person, recordingFetch } from "../test/fixture/index.ts";
import { type BenchClient, type Connection, connection, type ToolCaller } from "./client.ts";

/** The parts of an SDK that an app uses; in both generations the same. */
export interface Sdk {
  Client: new (info: { name: string; version: string }) => ToolCaller & { connect(transport: SdkTransport): Promise<void> };
  StreamableHTTPClientTransport: new (url: URL, options: { authProvider: MemoryProvider; fetch: typeof globalThis.fetch }) => SdkTransport;
  UnauthorizedError: new () => Error;
}

interface SdkTransport {
  finishAuth(code: string, iss?: string): Promise<void>;
}

const redirectUrl = "http://127.0.0.1:1/callback";

/** An `OAuthClientProvider` as the SDKs' own in-memory example has it. */
class MemoryProvider {
  readonly redirectUrl = redirectUrl;
  readonly clientMetadata = {
    client_name: "bench",
    redirect_uris: [redirectUrl],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
    application_type: "native",
  };
  readonly windows: URL[] = [];
  protected client: unknown;
  protected stored: unknown;
  #verifier = "";

  state() {
    return "bench";
  }
  clientInformation() {
    return this.client;
  }
  saveClientInformation(client: unknown) {
    this.client = client;
  }
  tokens() {
    return this.stored;
  }
  saveTokens(tokens: unknown) {
    this.stored = tokens;
  }
  redirectToAuthorization(url: URL) {
    this.windows.push(url);
  }
  codeVerifier() {
    return this.#verifier;
  }
  saveCodeVerifier(verifier: string) {
    this.#verifier = verifier;
  }
}

/** The same with the optional parts that matter here: metadata is remembered, what the SDK calls invalid is deleted. */
export class FullProvider extends MemoryProvider {
  #discovery: unknown;

  discoveryState() {
    return this.#discovery;
  }
  saveDiscoveryState(state: unknown) {
    this.#discovery = state;
  }
  invalidateCredentials(scope: string) {
    if (scope === "all" || scope === "client") this.client = undefined;
    if (scope === "all" || scope === "tokens") this.stored = undefined;
    if (scope === "all" || scope === "discovery") this.#discovery = undefined;
  }
}

/** Where several processes keep what they share. */
export interface Files {
  read(name: string): unknown;
  write(name: string, value: unknown): void;
}

/** The full provider with everything in files, for several processes: each reads what another has written. */
export class InFiles extends FullProvider {
  readonly #files: Files;
  readonly #openWindow: () => void;

  constructor(files: Files, openWindow: () => void) {
    super();
    this.#files = files;
    this.#openWindow = openWindow;
  }

  override clientInformation() {
    return this.#files.read("client") ?? undefined;
  }
  override saveClientInformation(client: unknown) {
    this.#files.write("client", client);
  }
  override tokens() {
    return this.#files.read("tokens") ?? undefined;
  }
  override saveTokens(tokens: unknown) {
    this.#files.write("tokens", tokens);
  }
  override redirectToAuthorization(url: URL) {
    this.#openWindow();
    super.redirectToAuthorization(url);
  }
  override invalidateCredentials(scope: string) {
    super.invalidateCredentials(scope);
    if (scope === "all" || scope === "client") this.#files.write("client", undefined);
    if (scope === "all" || scope === "tokens") this.#files.write("tokens", undefined);
  }
}

/** How an app connects: through the SDK's transport, and a user when the SDK asks for one. */
export interface SdkConnection {
  url: string;
  provider: MemoryProvider;
  fetch: typeof globalThis.fetch;
  isPresent: () => boolean;
}

export async function connectSdk(sdk: Sdk, { url, provider, fetch, isPresent }: SdkConnection): Promise<Connection> {
  const transport = () => new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider: provider, fetch });
  const first = transport();
  const client = new sdk.Client({ name: "bench", version: "1" });
  try {
    await client.connect(first);
    return connection(client);
  } catch (error) {
    const window = provider.windows.at(-1);
    if (!(error instanceof sdk.UnauthorizedError) || !window || !isPresent()) throw error;
    // The app's listener would have this; it is no request of the client.
    const { callbackUrl } = await person(window, { fetch, followCallback: false });
    const { searchParams } = callbackUrl ?? new URL("about:blank");
    await first.finishAuth(searchParams.get("code") ?? "", searchParams.get("iss") ?? undefined);
    const again = new sdk.Client({ name: "bench", version: "1" });
    await again.connect(transport());
    return connection(again);
  }
}

function sdkClient(name: string, sdk: Sdk, Provider: typeof MemoryProvider): BenchClient {
  return {
    name,
    async start(server) {
      const fetch = recordingFetch();
      const provider = new Provider();
      const user = {
        present: true,
        get windows() {
          return provider.windows.length;
        },
        log: fetch.log,
        // The SDKs ignore `expires_in`.
        expireToken: () => {},
        connect: () => connectSdk(sdk, { url: server.url, provider, fetch, isPresent: () => user.present }),
        [Symbol.asyncDispose]: async () => {},
      };
      return user;
    },
  };
}

// Type arguments of the two generations have nothing in common; what is used of them has the same form.
const sdkV1 = { Client, StreamableHTTPClientTransport, UnauthorizedError } as unknown as Sdk;
const sdkV2 = v2 as unknown as Sdk;
export const sdks = { v1: sdkV1, v2: sdkV2 };

export const sdkClients: readonly BenchClient[] = [
  sdkClient("SDK v1", sdkV1, MemoryProvider),
  sdkClient("SDK v1, full provider", sdkV1, FullProvider),
  sdkClient("SDK v2", sdkV2, MemoryProvider),
  sdkClient("SDK v2, full provider", sdkV2, FullProvider),
];
