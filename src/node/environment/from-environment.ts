import { codeOf, McpAuthError, withoutQuery } from "../../errors.ts";
import { type Emit, emitter } from "../../events.ts";
import { type AssertionSource, assertionClaims } from "../../grants/assertion.ts";
import { MemoryStore } from "../../stores/memory.ts";
import type { Store } from "../../stores/store.ts";
import type { MachineTokenManagerOptions } from "../../tokens/machine/options.ts";
import type { MachineTokenManager } from "../../tokens/machine-token-manager.ts";
import type { TokenManagerOptions } from "../../tokens/options.ts";
import type { TokenManager } from "../../tokens/token-manager.ts";
import { debugListener } from "../debug.ts";
import { isEnding, waitUntil } from "../process-end.ts";
import { sqliteStore } from "../stores.ts";
import { readSettings, type Settings } from "./settings.ts";

/** What the environment does not say, for `createMcpAuth.fromEnvironment`. */
export type EnvironmentOptions = Pick<TokenManagerOptions, "store" | "fetch" | "allowInsecure" | "keepFresh" | "onEvent" | "clock">;

/** What the environment may say of a person's login. */
type PersonOptions = EnvironmentOptions & Pick<TokenManagerOptions, "clientId" | "clientName" | "issuer" | "account" | "scopes">;

/**
 * `createMcpAuth.fromEnvironment`. What it does not need is not loaded.
 *
 * @param asPerson makes what there is without credentials of a program
 * @throws McpAuthError `invalid_environment`, `invalid_url`, `insecure_url`, `invalid_option`
 */
export async function fromEnvironment(
  env: NodeJS.ProcessEnv,
  { fetch, ...options }: EnvironmentOptions,
  asPerson: (serverUrl: string, options: PersonOptions) => TokenManager,
): Promise<TokenManager | MachineTokenManager> {
  const settings = readSettings(env);
  const { serverUrl, isMachine, texts } = settings;
  const { CLIENT_ID: clientId, ISSUER: issuer, ACCOUNT: account, SCOPES: scopes, CLIENT_NAME: clientName } = texts;
  const both = { ...options, fetch: fetch ?? (await connection(settings)), clientId, issuer, account, scopes: scopes?.split(/\s+/) };
  return isMachine ? machine(settings, { ...both, serverUrl }) : asPerson(serverUrl, { ...both, clientName });
}

async function machine(settings: Settings, options: MachineTokenManagerOptions): Promise<MachineTokenManager> {
  const { texts, secrets } = settings;
  const { MachineTokenManager } = await import("../../tokens/machine-token-manager.ts");
  const assertion = await assertionSource(settings);
  const onEvent = debugListener(options.onEvent);
  const emit = emitter(onEvent, withoutQuery(options.serverUrl.toString()));
  // A token of nobody knows whom is kept in memory, where no other program finds it.
  const isNamed = !assertion || options.account !== undefined || assertion.identity !== undefined;
  // Only who has asked before can be told when the process ends.
  isEnding();
  return new MachineTokenManager({
    ...options,
    tokenEndpoint: texts.TOKEN_ENDPOINT,
    resource: texts.RESOURCE,
    clientSecret: secrets.CLIENT_SECRET,
    privateKey: secrets.PRIVATE_KEY?.(),
    signingAlgorithm: texts.SIGNING_ALGORITHM,
    keyId: texts.KEY_ID,
    clientAssertionAudience: secrets.PRIVATE_KEY && texts.AUDIENCE,
    tokenEndpointAuthMethod: authMethod(settings),
    assertion,
    store: options.store ?? (isNamed ? await sharedStore(emit) : undefined),
    onEvent,
    waitUntil,
    isEnding,
  });
}

function authMethod({ texts, secrets }: Settings): MachineTokenManagerOptions["tokenEndpointAuthMethod"] {
  const { TOKEN_ENDPOINT_AUTH_METHOD: given, CLIENT_ID: clientId, WORKLOAD: workload } = texts;
  if (given) return given as MachineTokenManagerOptions["tokenEndpointAuthMethod"];
  const isOnlyProof = secrets.CLIENT_CERTIFICATE && clientId && !secrets.CLIENT_SECRET && !secrets.PRIVATE_KEY && !workload;
  return isOnlyProof ? "tls_client_auth" : undefined;
}

async function assertionSource({ texts, secrets }: Settings): Promise<AssertionSource | undefined> {
  const { WORKLOAD: workload, AUDIENCE: audience, IDP_ISSUER: issuer, IDP_CLIENT_ID: clientId = "" } = texts;
  if (workload) {
    const { gitHubActions, gitLab, kubernetes, assertionFile } = await import("../workload/sources.ts");
    if (workload === "github") return gitHubActions({ audience });
    if (workload === "gitlab") return gitLab();
    return workload === "kubernetes" ? kubernetes() : assertionFile(workload.replace(/^file:/, ""));
  }
  const { ID_TOKEN: subjectToken, IDP_CLIENT_SECRET: clientSecret } = secrets;
  if (!issuer || !subjectToken) return undefined;
  const { enterpriseManaged } = await import("../../grants/enterprise-managed.ts");
  const { subject } = assertionClaims(subjectToken()) ?? {};
  return enterpriseManaged({ issuer, clientId, clientSecret: clientSecret?.(), subjectToken, identity: subject });
}

/** What sends, where there is a client certificate: read again now and then, since it may be renewed. */
async function connection({ secrets }: Settings): Promise<typeof globalThis.fetch | undefined> {
  const { CLIENT_CERTIFICATE: cert, CLIENT_CERTIFICATE_KEY: key, CLIENT_CERTIFICATE_CA: ca } = secrets;
  if (!cert) return undefined;
  const { mutualTls } = await import("../mutual-tls.ts");
  return mutualTls(() => ({ cert: pem(cert), key: pem(key), ca: pem(ca) }));
}

/** Variables often carry line breaks as two characters. */
function pem(secret: (() => string) | undefined): string | undefined {
  return secret?.().replaceAll("\\n", "\n");
}

/** The default store, which all processes of a job share; in memory where nothing can be written, as in many containers. */
async function sharedStore(tell: Emit): Promise<Store> {
  const store = sqliteStore({ onEvent: tell });
  try {
    await store.withLock("environment", async () => {});
    return store;
  } catch (error) {
    const code = codeOf(error);
    if (!(error instanceof McpAuthError) || (code !== "store_failed" && code !== "lock_unsupported")) throw error;
    tell({ type: "tokens.unsaved", code });
    return new MemoryStore();
  }
}
