import { joinScopes } from "../authorization/scopes.ts";
import { systemClock } from "../clock.ts";
import { noEndpoint } from "../discovery/endpoints.ts";
import { isTransient, McpAuthError } from "../errors.ts";
import { text } from "../http/json.ts";
import { checkOptions, needed, type Rule, type Rules, text as textRule } from "../options.ts";
import { askedRules, tokenRequestRules } from "./options.ts";
import { endpointError, parse, postForm, seconds, type TokenRequestOptions, type TokenResponse, tokenRequest } from "./token-request.ts";

/** `grant_type` of RFC 8628. */
export const deviceCodeGrantType = "urn:ietf:params:oauth:grant-type:device_code";

/** What {@link requestDeviceCode} asks for. */
export interface DeviceCodeRequest extends TokenRequestOptions {
  /** Scopes to ask for. Default: what the server gives. */
  scopes?: readonly string[] | undefined;
  /** Resource indicator (RFC 8707). */
  resource?: string | undefined;
  /** Further parameters that some servers need, such as `audience`. */
  parameters?: Readonly<Record<string, string>> | undefined;
}

const deviceCodeRules = (): Rules<DeviceCodeRequest> => ({ ...tokenRequestRules(), ...askedRules() });

/** What a user needs to log in on any device with a browser. */
export interface DeviceCodePrompt {
  /** What to type in there, as it stands; printable ASCII. */
  userCode: string;
  /** Where; https, or http on loopback. */
  verificationUri: string;
  /** The same with the code in it, for a QR code or a link. */
  verificationUriComplete?: string | undefined;
  /** Until when, in milliseconds since 1970. */
  expiresAt: number;
}

/** A login on another device that has begun: what the user needs, and what this client asks with. */
export interface DeviceCode extends DeviceCodePrompt {
  /** Secret: its holder gets the tokens. */
  deviceCode: string;
  /** The least time between two requests, in milliseconds. */
  intervalMs: number;
}

/** What {@link pollDeviceCode} needs. */
export interface DeviceCodePoll extends TokenRequestOptions {
  /** What {@link requestDeviceCode} returned. */
  code: DeviceCode;
  /** Resource indicator (RFC 8707), as it was asked for. */
  resource?: string | undefined;
}

const deviceCode: Rule = [
  "what `requestDeviceCode` returned",
  (value) => {
    const { deviceCode, expiresAt, intervalMs } = Object(value) as Partial<Record<keyof DeviceCode, unknown>>;
    return typeof deviceCode === "string" && Number.isFinite(expiresAt) && Number.isFinite(intervalMs);
  },
];

const pollRules = (): Rules<DeviceCodePoll> => ({ ...tokenRequestRules(), code: needed(deviceCode), resource: textRule });

/** The interval of a server that names none, and what each `slow_down` adds, in ms (RFC 8628 §3.2, §3.5). */
const intervalStepMs = 5000;
/** The shortest interval that is used, whatever the server names, in ms. */
const shortestIntervalMs = 1000;
/** A code is not used for longer than this, in ms. */
const longestLifeMs = 3_600_000;
/** Lifetime of a code where the server names none, in ms. */
const usualLifeMs = 600_000;
/** The longest pause between two requests, in ms. */
const longestPauseMs = 60_000;

/**
 * Begins a login on another device: one request to the device authorization endpoint.
 *
 * @throws McpAuthError `grant_unsupported` when the server has no such endpoint; `invalid_token_response` when its response
 *   cannot be used, `invalid_url` and `insecure_url` when it sends the user where no browser should go; `invalid_client`,
 *   `token_request_refused`, `server_error`, `rate_limited`, and what `http.fetch` throws.
 * @see RFC 8628 §3.1, §3.2
 */
export async function requestDeviceCode(request: DeviceCodeRequest): Promise<DeviceCode> {
  checkOptions(request, deviceCodeRules());
  return beginDeviceLogin(request);
}

/** {@link requestDeviceCode}, unchecked. */
export async function beginDeviceLogin(request: DeviceCodeRequest): Promise<DeviceCode> {
  const { server, http, scopes, resource, clock = systemClock } = request;
  const { issuer, device_authorization_endpoint: endpoint } = server;
  if (!endpoint) throw new McpAuthError("grant_unsupported", { issuer, detail: noEndpoint(server, "device_authorization_endpoint") });
  const parameters = { ...request.parameters, scope: joinScopes(scopes), resource };
  const response = await postForm(endpoint, parameters, request);
  const body = parse(await response.text());
  if (!response.ok || (body.error && !body.device_code)) throw endpointError(response, body, parameters, request);

  const deviceCode = text(body.device_code);
  const userCode = printable(body.user_code, 64);
  // Google's servers use the name of a draft.
  const address = printable(body.verification_uri ?? body.verification_url, 2048);
  if (!deviceCode || !userCode || !address) {
    const missing = deviceCode ? (userCode ? "verification_uri" : "user_code") : "device_code";
    throw new McpAuthError("invalid_token_response", {
      issuer,
      status: response.status,
      detail: `\`${missing}\` is missing or not usable`,
    });
  }
  const lifeMs = Math.min((seconds(body.expires_in) ?? usualLifeMs / 1000) * 1000, longestLifeMs);
  return {
    deviceCode,
    userCode,
    verificationUri: http.checkUrl(address, { issuer, party: "authorization-server" }).href,
    verificationUriComplete: usable(body.verification_uri_complete, http.checkUrl),
    expiresAt: clock.now() + lifeMs,
    intervalMs: Math.max((seconds(body.interval) ?? intervalStepMs / 1000) * 1000, shortestIntervalMs),
  };
}

/**
 * Asks for the tokens until the user has decided: at the server's interval, never faster, longer after each `slow_down`,
 * and ever longer while the server cannot be reached. `signal` ends the waiting; a request that is under way is finished.
 *
 * @throws McpAuthError `login_timeout` when the code expires first, `authorization_denied` when the user says no,
 *   `invalid_grant`, `invalid_client`, `token_request_refused`, `invalid_token_response`; `signal.reason`.
 * @see RFC 8628 §3.4, §3.5
 */
export async function pollDeviceCode(poll: DeviceCodePoll): Promise<TokenResponse> {
  checkOptions(poll, pollRules());
  return awaitDeviceLogin(poll);
}

/** {@link pollDeviceCode}, unchecked. */
export async function awaitDeviceLogin(poll: DeviceCodePoll): Promise<TokenResponse> {
  const { code, resource, server, clock = systemClock, signal } = poll;
  const { issuer } = server;
  let { intervalMs } = code;
  /** Transient failures in a row. */
  let faults = 0;
  /** What `Retry-After` asks, beyond the interval. */
  let retryAfterMs = 0;
  for (;;) {
    const pauseMs = Math.max(intervalMs, retryAfterMs, faults && Math.min(intervalMs * 2 ** faults, longestPauseMs));
    const leftMs = code.expiresAt - clock.now();
    await clock.sleep(Math.max(Math.min(pauseMs, leftMs), 0), { signal });
    if (pauseMs >= leftMs) throw new McpAuthError("login_timeout", { issuer, detail: "the code has expired" });
    try {
      // Without the signal: the response may hold the tokens, and a login that is unknown here would be left at the server.
      return await tokenRequest(deviceCodeGrantType, { device_code: code.deviceCode, resource }, { ...poll, signal: undefined });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof McpAuthError)) throw error;
      const { serverError, serverDescription, status } = error;
      const details = { issuer, status, serverError, serverDescription };
      if (serverError === "expired_token") throw new McpAuthError("login_timeout", details);
      if (serverError === "access_denied") throw new McpAuthError("authorization_denied", details);
      if (serverError === "slow_down") intervalMs += intervalStepMs;
      const isWaiting = serverError === "slow_down" || serverError === "authorization_pending";
      if (!isWaiting && !isTransient(error)) throw error;
      faults = isWaiting ? 0 : faults + 1;
      retryAfterMs = error.retryAfterMs ?? 0;
    }
  }
}

/** Text that a terminal shows as it stands and a user can type. */
function printable(value: unknown, longest: number): string | undefined {
  return typeof value === "string" && value.length <= longest && /^[!-~](?:[ -~]*[!-~])?$/.test(value) ? value : undefined;
}

/** An address that is good to have; one that is not fit for a browser is none. */
function usable(value: unknown, checkUrl: (url: string) => URL): string | undefined {
  try {
    return checkUrl(printable(value, 2048) ?? "").href;
  } catch {
    return undefined;
  }
}
