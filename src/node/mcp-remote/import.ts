import { splitScope } from "../../authorization/scopes.ts";
import { writeDiscovery } from "../../discovery/cache.ts";
import { type Discovery, discover } from "../../discovery/discovery.ts";
import { isSameIssuer } from "../../discovery/issuer-names.ts";
import { McpAuthError } from "../../errors.ts";
import { members, text } from "../../http/json.ts";
import { probe } from "../../login/probe.ts";
import { createSession, type Session } from "../../login/session.ts";
import { authMethods, type ClientRegistration, chooseAuthMethod } from "../../registration/registration.ts";
import { findRegistration, registrationKey } from "../../registration/stored.ts";
import { freshness } from "../../tokens/freshness.ts";
import { replacing, sameTokens, type TokenRecord } from "../../tokens/token-record.ts";
import { type McpRemoteClient, type McpRemoteLogin, type McpRemoteTokens, readMcpRemote } from "./files.ts";
import type { McpRemoteImportOptions } from "./options.ts";

/** Why an import brought no tokens, or no refresh token. */
export type McpRemoteImportReason =
  /** mcp-remote has nothing about this server, under these options. */
  | "nothing-found"
  /** It has, but the files cannot be used: see `problems`. */
  | "unreadable"
  /** The store has a login of this account at this server. */
  | "already-logged-in"
  /** The access token has expired, and there is no refresh token. */
  | "expired"
  /** The login was made at another authorization server than the one that the server, or `issuer`, names. */
  | "other-issuer"
  /** Nothing tells which authorization server gave the refresh token, so that it can be sent to none: see `issuer`. */
  | "issuer-unknown"
  /** Nothing tells to which client the refresh token was given: see `clientId`. */
  | "client-unknown";

/** What an import brought. No tokens are in it. */
export interface McpRemoteImport {
  /** Whether the store has a login now that came from mcp-remote. */
  tokens: boolean;
  /** Whether that login can be refreshed: without, it ends with its access token. */
  refreshable: boolean;
  /** Whether mcp-remote's registration was taken over, for the next login. */
  registration: boolean;
  /** Why there are no tokens, or no refresh token. */
  reason?: McpRemoteImportReason | undefined;
  /** The files that were used. */
  files: readonly string[];
  /** Files that were not, and why. */
  problems: readonly string[];
  /** What the user must know now, in plain English. */
  notice?: string | undefined;
}

const notice =
  "Do not use mcp-remote for this server any more: both hold the same refresh token, and a server that sees it used twice ends the login.";

/** The import itself, loaded by the few programs that use it. @throws McpAuthError as the public function */
export async function importFromMcpRemote(serverUrl: string | URL, options: McpRemoteImportOptions): Promise<McpRemoteImport> {
  const session = createSession({ ...options, serverUrl });
  try {
    if (!options.overwrite && isAlive(await session.keeper.load(), session)) {
      return { ...nothing, files: [], problems: [], reason: "already-logged-in" };
    }
    const { logins, problems } = await readMcpRemote(serverUrl, options);
    let reason: McpRemoteImportReason | undefined;
    for (const login of logins.sort((a, b) => Number(!a.tokens) - Number(!b.tokens))) {
      const outcome = await importLogin(session, login, options);
      if (outcome.tokens || outcome.registration) return { ...outcome, files: login.files, problems };
      reason ??= outcome.reason;
    }
    return { ...nothing, files: [], problems, reason: reason ?? (problems.length > 0 ? "unreadable" : "nothing-found") };
  } finally {
    await session.keeper.dispose();
  }
}

type Outcome = Omit<McpRemoteImport, "files" | "problems">;
const nothing: Outcome = { tokens: false, refreshable: false, registration: false };

async function importLogin(session: Session, login: McpRemoteLogin, options: McpRemoteImportOptions): Promise<Outcome> {
  const noted = login.tokens?.issuer ?? login.client?.issuer ?? options.issuer;
  const hinted = noted ?? jwtIssuer(login.tokens);
  const discovery = await findServers(session, hinted);
  const isProven = hinted !== undefined && isSameIssuer(hinted, discovery.issuer, options);
  const isWanted = options.issuer === undefined || isSameIssuer(options.issuer, discovery.issuer, options);
  if (!isWanted || (noted && !isProven)) return { ...nothing, reason: "other-issuer" };

  const client = isProven ? clientOf(login, discovery, options, session.clock.now()) : undefined;
  const outcome = login.tokens ? await importTokens(session, login.tokens, { ...options, client, discovery, isProven }) : nothing;
  if (outcome.reason === "already-logged-in") return outcome;
  const registration =
    client?.kind === "dynamic" &&
    (await importRegistration(session, client).catch((error: unknown) => {
      // With a login in the store, that the next one registers anew is no reason to fail now.
      if (!outcome.tokens) throw error;
      return false;
    }));
  return { ...outcome, registration };
}

/** Where the server's logins happen today; of several authorization servers the one that the login came from. */
async function findServers(session: Session, hinted: string | undefined): Promise<Discovery> {
  const { serverUrl, http, clock, emit, options } = session;
  const { strictIssuer } = options;
  const choose = (issuers: readonly string[]) =>
    issuers.find((issuer) => hinted !== undefined && isSameIssuer(issuer, hinted, { strictIssuer })) ?? String(issuers[0]);
  const challenge = await probe(session, undefined);
  const chooseAuthorizationServer = hinted === undefined ? undefined : choose;
  return discover(serverUrl, { http, clock, emit, strictIssuer, challenge, chooseAuthorizationServer });
}

/** The client that the tokens were given to, chosen as mcp-remote chooses. */
function clientOf(
  { client, tokens }: McpRemoteLogin,
  { issuer, server }: Discovery,
  { clientId, clientSecret, clientMetadataUrl, tokenEndpointAuthMethod, strictIssuer }: McpRemoteImportOptions,
  now: number,
): ClientRegistration | undefined {
  if (clientId !== undefined) {
    const method = tokenEndpointAuthMethod ?? (clientSecret ? chooseAuthMethod(server) : "none");
    return { issuer, kind: "pre-registered", clientId, clientSecret, tokenEndpointAuthMethod: method, createdAt: now };
  }
  if (clientMetadataUrl !== undefined && server.client_id_metadata_document_supported === true) {
    return { issuer, kind: "metadata-document", clientId: clientMetadataUrl, tokenEndpointAuthMethod: "none", createdAt: now };
  }
  // A registration at another server than the tokens' is not theirs.
  if (!client || !isSameIssuer(client.issuer ?? issuer, tokens?.issuer ?? issuer, { strictIssuer })) return undefined;
  return { ...client, issuer, kind: "dynamic", tokenEndpointAuthMethod: methodOf(client, server) };
}

function methodOf({ clientSecret, tokenEndpointAuthMethod: named }: McpRemoteClient, server: Discovery["server"]) {
  return clientSecret ? (authMethods.find((method) => method === named) ?? chooseAuthMethod(server)) : "none";
}

interface TokenImport extends McpRemoteImportOptions {
  client: ClientRegistration | undefined;
  discovery: Discovery;
  /** Whether it is certain that this authorization server gave the tokens. */
  isProven: boolean;
}

async function importTokens(
  session: Session,
  tokens: McpRemoteTokens,
  { client, discovery, isProven, resource, clientId = "", overwrite }: TokenImport,
): Promise<Outcome> {
  const { keeper, store, serverName, clock } = session;
  const issuer = isProven ? discovery.issuer : "";
  const { requestedScope, ...given } = tokens;
  const record: TokenRecord = {
    v: 1,
    ...given,
    // mcp-remote sends it in this form.
    resource: resource === undefined ? discovery.resource : new URL(resource).href,
    issuer,
    client: client ?? { issuer, kind: "pre-registered", clientId, tokenEndpointAuthMethod: "none", createdAt: clock.now() },
    refreshToken: client && tokens.refreshToken,
    requestedScopes: splitScope(requestedScope ?? tokens.scope),
  };
  const withheld = tokens.refreshToken === undefined || client ? undefined : isProven ? "client-unknown" : "issuer-unknown";
  if (!isAlive(record, session)) return { ...nothing, reason: withheld ?? "expired" };

  const former = await keeper.former(record.resource);
  const isFree = await keeper.locked(record.resource, async ({ current, save }) => {
    if (!overwrite && isAlive(current, session)) return false;
    await keeper.index(record.resource);
    await save(replacing([former, current], record));
    return true;
  });
  if (!isFree) return { ...nothing, reason: "already-logged-in" };
  await keeper.deleteFormer(former);
  // A login that is in memory alone ends with this call.
  await keeper.dispose();
  if (!sameTokens(await keeper.read(record.resource), record))
    throw new McpAuthError("store_failed", { detail: "the login could not be written" });
  // A cache that cannot be written costs nothing but time.
  await writeDiscovery(store, await serverName(), discovery).catch(() => {});
  const refreshable = record.refreshToken !== undefined;
  return { tokens: true, refreshable, registration: false, reason: withheld, notice: refreshable ? notice : undefined };
}

/** Whether a login is worth keeping. */
function isAlive(record: TokenRecord | undefined, { clock }: Session): boolean {
  return record !== undefined && (record.refreshToken !== undefined || freshness(record, clock.now(), 1) !== "expired");
}

/** Keeps the registration where there is none: another one may be in use. */
function importRegistration({ store }: Session, client: ClientRegistration): Promise<boolean> {
  const key = registrationKey(client.issuer);
  return store.withLock(key, async (held) => {
    if (await findRegistration(store, client.issuer)) return false;
    await held.set(key, { v: 1, ...client });
    return true;
  });
}

/** `iss` of a token that is a JWT. Unverified: only what this machine's user received is in the files. */
function jwtIssuer(tokens: McpRemoteTokens | undefined): string | undefined {
  for (const token of [tokens?.idToken, tokens?.accessToken]) {
    const [, claims = "", ...rest] = token?.split(".") ?? [];
    const issuer = text(members(Buffer.from(claims, "base64url").toString()).iss);
    if (rest.length === 1 && issuer) return issuer;
  }
  return undefined;
}
