import type { Credential, CredentialRequest } from "../credential.ts";
import { challengeHeader, readChallenge } from "../discovery/challenge.ts";
import { McpAuthError } from "../errors.ts";
import { isSamePlace } from "../http/redirect.ts";
import { callback, checkOptions, credential as credentialRule, needed, url } from "../options.ts";
import { foreignResponse, HandedRedirects } from "./foreign.ts";
import { Call, cancelParked } from "./parked-calls.ts";
import { type Outgoing, operationOf, outgoing } from "./request.ts";

/** How often one request is sent at most: with a token, two of refreshes and one of a login, thrice with each new one; after two step-ups. */
const maxTries = 12;

/** Options of {@link authFetch}. */
export interface AuthFetchOptions {
  /**
   * Sends the requests. Default: the `fetch` that a token manager was given, else the global one, looked up at each call. The
   * credential's `send` comes first.
   */
  fetch?: typeof globalThis.fetch | undefined;
}

/**
 * A `fetch` that authorises requests to one protected server: it adds headers, recognises refusals, and repeats requests.
 *
 * - Headers are sent to the server's origin only; other requests pass unchanged. Redirects are followed within the origin; any
 *   other redirect is returned to the caller.
 * - The credential handles a refusal: a 401, a 4xx with `invalid_token`, a 403 for lack of scopes, a redirect that names the
 *   metadata of the resource, an answer to a call that no MCP server gives, or what its `isChallenge` recognises. Then the request is repeated, or the server's response is returned unchanged, or the credential's error is thrown.
 * - A GET of an event stream gets the server's 401 instead of an error, because stream transports reconnect after each error.
 *   The error is in the credential's `lastError`.
 * - A call that its sender cancels while it waits for credentials is never sent.
 *
 * @param credential authorises the requests
 * @param serverUrl the protected server
 * @throws McpAuthError `invalid_option`, `invalid_url`. The `fetch` throws what the credential throws; `body_not_replayable` when a stream would have to be sent again.
 * @example
 * ```ts
 * new StreamableHTTPClientTransport(url, { fetch: authFetch(credential, url) })
 * ```
 */
export function authFetch(credential: Credential, serverUrl: string | URL, options: AuthFetchOptions = {}): typeof globalThis.fetch {
  checkOptions({ credential, serverUrl }, { credential: needed(credentialRule()), serverUrl: needed(url) });
  checkOptions(options, { fetch: callback });
  const parsed = URL.parse(serverUrl);
  if (!parsed) throw new McpAuthError("invalid_url", { detail: "`serverUrl` must begin with https://" });
  return authorizedFetch(credential, parsed, { fetch: options.fetch ?? managersFetch.get(credential) });
}

/** What managers were given to send with. */
const managersFetch = new WeakMap<Credential, typeof globalThis.fetch>();

/** Notes what a token manager was given to send with: an `authFetch` of the app's own uses it, too. */
export function sendsWith(manager: Credential, fetch: typeof globalThis.fetch | undefined): void {
  if (fetch) managersFetch.set(manager, fetch);
}

/** {@link authFetch}, unchecked. */
export function authorizedFetch(credential: Credential, { origin }: URL, options: AuthFetchOptions): typeof globalThis.fetch {
  /** Calls without a response so far. */
  const calls = new Set<Call>();
  const handed = new HandedRedirects();

  return async (input, init) => {
    const send = credential.send ?? options.fetch ?? globalThis.fetch;
    let request = outgoing(input, init);
    if (request.url.origin !== origin) return send(input, init);
    if (cancelParked(calls, request)) return new Response(null, { status: 202 });

    let asked: CredentialRequest = { method: request.method, url: request.url, signal: request.signal };
    const call = new Call(request);
    calls.add(call);
    try {
      for (let tries = 1; ; tries++) {
        const used = await headersFor(credential, asked, request, call);
        let place = request.url;
        const response = await request.send(send, used, (to) => {
          place = to;
        });
        const decide = decider(credential, response, used, request, { place, source: handed.sourceOf(request.url) });
        if (!decide) {
          credential.onResponse?.(response, used);
          handed.note(response, place);
          return response;
        }
        if (tries === maxTries) return response;

        asked.operation ??= operationOf(request.text);
        asked.refused ??= [];
        asked.sessionId ??= request.sessionId;
        try {
          const decision = await call.during(() => decide(asked));
          if (decision === "give-up") return response;
        } catch (error) {
          if (request.isStream && !request.signal?.aborted) return response;
          await discard(response);
          throw error;
        }
        asked = { ...asked, refused: [...asked.refused, used] };
        await discard(response);
        request.signal?.throwIfAborted();
        // What a caller has followed by itself begins anew where it began: only there new credentials show.
        const source = handed.sourceOf(request.url);
        if (source && !(input instanceof Request)) request = outgoing(source, init);
        if (!request.replayable) throw new McpAuthError("body_not_replayable", { serverUrl: request.url.href });
      }
    } finally {
      calls.delete(call);
    }
  };
}

/** Closes the body. An error does not count: during a login the server may have closed the connection. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

async function headersFor(
  credential: Credential,
  asked: CredentialRequest,
  request: Outgoing,
  call: Call,
): Promise<Record<string, string>> {
  try {
    return await call.during(() => credential.headers(asked));
  } catch (error) {
    // A stream without credentials gets its 401 from the server. After a transient error it should reconnect.
    if (request.isStream && error instanceof McpAuthError && !error.transient) return {};
    throw error;
  }
}

/** Asks the credential what to do about a response; `undefined` where that is not in question. */
function decider(
  credential: Credential,
  response: Response,
  used: Record<string, string>,
  request: Outgoing,
  { place, source }: { place: URL; source: URL | undefined },
): ((asked: CredentialRequest) => Promise<"retry" | "give-up">) | undefined {
  if (isChallenge(response, used, request) || credential.isChallenge?.(response, used))
    return (asked) => credential.onChallenge(readChallenge(response), used, asked);
  const isElsewhere = source !== undefined || (place !== request.url && !isSamePlace(place, request.url));
  const error = credential.onForeignResponse && foreignResponse(response, request, place, isElsewhere);
  if (!error) return undefined;
  return async (asked) => credential.onForeignResponse?.({ challenge: readChallenge(response), error }, used, asked) ?? "give-up";
}

/**
 * Whether a response is a refusal that other credentials may change. Some servers tell a token that has expired with another
 * 4xx than 401, but name the error. Access proxies redirect, or answer 403, and name the metadata of the resource; a 403 may
 * name them to one who is known, but not allowed, too.
 *
 * @see RFC 6750 §3.1, RFC 9728 §5.1
 */
function isChallenge(response: Response, used: Record<string, string>, { method, isStream }: Outgoing): boolean {
  const { status, headers } = response;
  if (status === 401 || status < 300 || status > 499 || challengeHeader(headers) === null) return status === 401;
  const { error, resourceMetadata } = readChallenge(response);
  if (status < 400) return resourceMetadata !== undefined && (method === "POST" || isStream);
  if (error === "invalid_token") return true;
  return status === 403 && (error === "insufficient_scope" || (resourceMetadata !== undefined && Object.keys(used).length === 0));
}
