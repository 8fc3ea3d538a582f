import { codeOf, type McpAuthErrorCode, withoutQuery } from "../../errors.ts";
import { type Emit, emitter } from "../../events.ts";
import { readJwtClaims } from "../../grants/jwt-claims.ts";
import type { AssertionSource } from "../../machine/assertion.ts";
import { enterpriseManaged } from "../../machine/enterprise-managed.ts";
import { MachineTokenManager } from "../../machine/machine-token-manager.ts";
import type { MachineTokenManagerOptions } from "../../machine/options.ts";
import { assertionFile, gitHubActions, gitLab, kubernetes } from "../../machine/workload/sources.ts";
import { MemoryStore } from "../../stores/memory.ts";
import type { Store } from "../../stores/store.ts";
import { debugListener } from "../debug.ts";
import { isEnding, waitUntil } from "../process-end.ts";
import { sqliteStore } from "../stores/on-demand.ts";
import type { Settings } from "./settings.ts";

/**
 * The program that the environment describes.
 *
 * @param options what the app has said, and what is the same for a user
 */
export async function machineFrom(settings: Settings, options: MachineTokenManagerOptions): Promise<MachineTokenManager> {
  const { texts, secrets } = settings;
  const assertion = assertionSource(settings);
  const onEvent = debugListener(options.onEvent);
  const emit = emitter(onEvent, withoutQuery(new URL(settings.serverUrl).href));
  // Where the assertion does not say whose it is, the token is kept in memory: nobody else must find it.
  const isNamed = !assertion || options.account !== undefined || assertion.identity !== undefined;
  // It notices the end of the process only from its first call on.
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
  const isOnlyCredential = secrets.CLIENT_CERTIFICATE && clientId && !secrets.CLIENT_SECRET && !secrets.PRIVATE_KEY && !workload;
  return isOnlyCredential ? "tls_client_auth" : undefined;
}

function assertionSource({ texts, secrets }: Settings): AssertionSource | undefined {
  const { WORKLOAD: workload, AUDIENCE: audience, IDP_ISSUER: issuer, IDP_CLIENT_ID: clientId = "" } = texts;
  if (workload) {
    if (workload === "github") return gitHubActions({ audience });
    if (workload === "gitlab") return gitLab();
    return workload === "kubernetes" ? kubernetes() : assertionFile(workload.replace(/^file:/, ""));
  }
  const { ID_TOKEN: subjectToken, IDP_CLIENT_SECRET: clientSecret } = secrets;
  if (!issuer || !subjectToken) return undefined;
  const { subject } = readJwtClaims(subjectToken()) ?? {};
  return enterpriseManaged({ issuer, clientId, clientSecret: clientSecret?.(), subjectToken, identity: subject && `${issuer} ${subject}` });
}

/** What says that nothing can be kept here. */
const unwritable = new Set<McpAuthErrorCode>(["store_failed", "store_denied", "store_unusable", "lock_unsupported", "unsupported_runtime"]);

/** The default store, which all processes of a job share; in memory where nothing can be written, as in many containers. */
async function sharedStore(emit: Emit): Promise<Store> {
  const store = sqliteStore({ onEvent: emit });
  try {
    await store.withLock("environment", async () => {});
    return store;
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined || !unwritable.has(code)) throw error;
    emit({ type: "tokens.unsaved", code });
    return new MemoryStore();
  }
}
