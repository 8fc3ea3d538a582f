import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { withoutQuery } from "../errors.ts";
import { awaitDeviceLogin, beginDeviceLogin, type DeviceCode, deviceCodeGrantType } from "../grants/device-code.ts";
import { keepAuthMethod, withAuthMethod } from "../registration/auth-method.ts";
import { obtainClient } from "../registration/client-id.ts";
import type { ClientRegistration } from "../registration/registration.ts";
import { findRegistration } from "../registration/stored.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { tokenHttp } from "../tokens/token-requests.ts";
import { type Authorization, requestedScopes, storeLogin } from "./authorization.ts";
import { keyAuthentication } from "./client-key.ts";
import { loginName } from "./login-name.ts";
import type { Session } from "./session.ts";

/**
 * Redirect URIs of a client that is first registered for device codes: most servers refuse a registration without any. A
 * login by browser registers its own.
 */
const unusedRedirectUris = ["http://127.0.0.1/callback", "http://localhost/callback"];

/** A login on another device, for which the server has issued a device code. */
export interface StartedDeviceFlow {
  client: ClientRegistration;
  code: DeviceCode;
}

/** Whether the app and the server support a login by device code. */
export function offersDeviceCode({ options }: Session, server: AuthorizationServerMetadata): boolean {
  const { device_authorization_endpoint: endpoint, grant_types_supported: grants } = server;
  return options.onDeviceCode !== undefined && endpoint !== undefined && (grants?.includes(deviceCodeGrantType) ?? true);
}

/**
 * Prepares the login: gets a client and requests a device code.
 *
 * @throws McpAuthError every code of registration, and of `beginDeviceLogin`
 */
export async function startDeviceFlow(session: Session, authorization: Authorization): Promise<StartedDeviceFlow> {
  const { options, store, http, clock, emit } = session;
  const { discovery, scopes, resource, parameters, signal } = authorization;
  const { issuer, server } = discovery;
  // The user types the code in where this server says.
  await authorization.verified;
  signal.throwIfAborted();
  // The stored registration's redirect URIs, so that one registration serves both ways to log in.
  const registered = (await findRegistration(store, issuer))?.redirectUris;
  const client = await obtainClient({
    ...options,
    server,
    serverName: await session.serverName(),
    store,
    http,
    clock,
    emit,
    signal,
    redirectUris: registered ?? options.redirectUris ?? unusedRedirectUris,
    scopes: requestedScopes(authorization),
    login: await loginName(session),
    grantTypes: [deviceCodeGrantType],
  });
  const authentication = keyAuthentication(session, client, server);
  const request = { server, authentication, http, clock, signal, parameters, resource, scopes };
  const { answer: code, client: known } = await withAuthMethod(client, (identity) => beginDeviceLogin({ ...request, client: identity }));
  // Some servers look at the secret with the tokens only.
  const isFirst = known.tokenEndpointAuthMethod === client.tokenEndpointAuthMethod && known.clientIdInBody === client.clientIdInBody;
  return { client: isFirst ? client : known, code };
}

/**
 * Shows the user the code and where to enter it, and waits for the decision.
 *
 * @throws McpAuthError as `awaitDeviceLogin`; what `onDeviceCode` throws
 * @see RFC 8628 §3.3
 */
export async function finishDeviceFlow(
  session: Session,
  authorization: Authorization,
  { client, code }: StartedDeviceFlow,
): Promise<TokenRecord> {
  const { options, clock, emit, store } = session;
  const { server } = authorization.discovery;
  const { deviceCode: _, intervalMs: __, ...prompt } = { ...code, expiresAt: Math.min(code.expiresAt, authorization.endsAt) };
  emit({ type: "login.device-code", issuer: server.issuer, verificationUri: withoutQuery(code.verificationUri) });
  // Not awaited: the app may show the code as long as the login takes. If it fails, the user has seen no code.
  const unseen = new AbortController();
  (async () => options.onDeviceCode?.(prompt))().catch((error: unknown) => unseen.abort(error));
  const signal = AbortSignal.any([authorization.signal, unseen.signal]);
  const authentication = keyAuthentication(session, client, server);
  const request = {
    server,
    authentication,
    http: tokenHttp(session, server.issuer),
    clock,
    code,
    resource: authorization.resource,
    signal,
  };
  const { answer, client: known } = await withAuthMethod(client, (identity) => awaitDeviceLogin({ ...request, client: identity }));
  const record = await storeLogin(session, authorization, known, answer);
  await keepAuthMethod(store, client, known);
  return record;
}
