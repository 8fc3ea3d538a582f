import type { LoginHandler, LoginHandlerRequest, LoginSession } from "../../../authorization/login-handler.ts";
import { McpAuthError } from "../../../errors.ts";
import { openBrowser } from "../browser.ts";
import type { ListenerLoginOptions, LoopbackLoginOptions } from "../options.ts";
import { printToStderr } from "../print.ts";
import { type Listener, listen } from "./listener.ts";
import { answerFor } from "./page.ts";
import { type Place, places } from "./redirect-uris.ts";
import { collectResponses, type Responses } from "./responses.ts";

/** Shows the user where to log in. Returns or rejects at any time; `signal` aborts when the login has ended. */
export type ShowUrl = (url: URL, session: LoginSession, listener: Listener, responses: Responses, signal: AbortSignal) => Promise<void>;

/**
 * Login through a browser on this machine (RFC 8252 §7.3): listens on loopback, prints the authorization URL, opens the
 * browser and answers it with a page that tells how the login ended.
 *
 * A browser that cannot be opened ends the login with `browser_failed` only where nobody can see the printed address:
 * neither is stderr a terminal, nor is there a `print` of the app's own.
 *
 * @throws McpAuthError `start`: `redirect_port_in_use` when none of the ports can be had.
 */
export function loopbackLogin(options: LoopbackLoginOptions = {}): LoginHandler {
  const print = options.print ?? printToStderr;
  // Whoever asks for the login has checked the URL: plain http is development that the app has allowed.
  const open = options.openBrowser ?? ((url) => openBrowser(url, { allowInsecure: [url.hostname] }));
  return listenerLogin(options, async (url) => {
    print(`Open this address to log in: ${url.href}`);
    try {
      await open(url);
    } catch (cause) {
      if (!options.print && !process.stderr.isTTY) {
        throw cause instanceof McpAuthError ? cause : new McpAuthError("browser_failed", { cause });
      }
      print("No browser could be opened. The login waits for you to open the address by hand.");
    }
  });
}

/** A login whose responses arrive at a listener on this machine; `showUrl` says how the user gets to the URL. */
export function listenerLogin(options: ListenerLoginOptions, showUrl: ShowUrl): LoginHandler {
  return {
    async start(request) {
      request.signal.throwIfAborted();
      for (const place of places(options, request)) {
        const session = await startAt(place, options, request, showUrl);
        if (session) return session;
      }
      throw new McpAuthError("redirect_port_in_use", { serverUrl: request.serverUrl });
    },
  };
}

async function startAt(
  place: Place,
  options: ListenerLoginOptions,
  request: LoginHandlerRequest,
  showUrl: ShowUrl,
): Promise<LoginSession | undefined> {
  let responses: Responses | undefined;
  let wasAhead = false;
  const listener = await listen({
    port: place.port,
    bindAddress: options.bindAddress,
    path: place.path,
    proxyHost: (port) => options.redirectUri && new URL(place.uris(port, false)[0] as string).host,
    answer: async (query, isAhead) => {
      wasAhead ||= isAhead;
      // Before there is an authorization request, a response can only be an older one's.
      const outcome = (await responses?.submit(query)) ?? ({ kind: "foreign", error: undefined } as const);
      return answerFor({ ...outcome, serverUrl: request.serverUrl, clientName: options.clientName }, options.page);
    },
  });
  if (!listener) return undefined;

  const redirectUris = place.uris(listener.port, listener.ipv6);
  const [redirectUri] = redirectUris;
  const close = () => {
    responses?.end(request.signal.reason ?? new DOMException("The login session was closed", "AbortError"));
    request.signal.removeEventListener("abort", close);
    return listener.close();
  };
  if (!redirectUri || request.signal.aborted) {
    await close();
    request.signal.throwIfAborted();
    return undefined;
  }
  request.signal.addEventListener("abort", close, { once: true });

  const session: LoginSession = {
    redirectUri,
    redirectUris,
    async close() {
      // The user has not seen the page yet. Whoever calls a second time, or aborts, does not wait for that.
      if (!wasAhead || !responses?.isOver) return close();
      wasAhead = false;
      listener.closeLater();
    },
    async authorize(url, receive, signal) {
      signal.throwIfAborted();
      request.signal.throwIfAborted();
      const current = collectResponses(receive);
      responses = current;
      const abort = () => current.end(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      const over = new AbortController();
      // What the user does counts, not when the browser's command returns.
      showUrl(url, session, listener, current, over.signal).catch(current.endWhenIdle);
      try {
        await current.ended;
      } finally {
        signal.removeEventListener("abort", abort);
        over.abort();
      }
    },
  };
  return session;
}
