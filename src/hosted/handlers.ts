import { LoginRequiredError, McpAuthError } from "../errors.ts";
import { callback, checkOptions, needed, type Rule, type Rules } from "../options.ts";
import { answerHeaders } from "./answer-headers.ts";
import { finishedBefore, HostedLogin } from "./hosted-login.ts";
import { placeInApp } from "./return-to.ts";
import { isFromApp } from "./same-origin.ts";

/** Answers one request. Fits Hono, Next.js, Workers, Deno and Bun as it is; `nodeHandler` makes one for Express. */
export type WebHandler = (request: Request) => Promise<Response>;

/** What the handlers ask the app. */
export interface HostedHandlersOptions {
  /** Begins and finishes the logins. */
  logins: HostedLogin;
  /** Who is signed in at the app: its own name of the user. `undefined`: nobody. */
  account: (request: Request) => string | undefined | Promise<string | undefined>;
  /** Which protected server a user may connect to with this request. `undefined`: none. */
  serverUrl: (request: Request) => string | URL | undefined | Promise<string | URL | undefined>;
  /** Scopes to ask for, beside the usual ones: a step-up. Default: none. */
  scopes?: ((request: Request) => readonly string[] | undefined) | undefined;
  /** Answers in place of the error page; `undefined`: the page. Texts of an error may come from a server: escape them. */
  onError?: ((error: McpAuthError, request: Request) => Response | undefined | Promise<Response | undefined>) | undefined;
}

/** Each for one route of the app. */
export interface HostedHandlers {
  /** POST, from a page of the app: sends the user to the authorization server. `?returnTo=` says where to go on afterwards. */
  connect: WebHandler;
  /** GET, at the redirect URI: finishes the login, and sends the user to `returnTo`. */
  callback: WebHandler;
  /** POST, from a page of the app: ends the login. `?returnTo=` as for `connect`. */
  disconnect: WebHandler;
}

const loginsRule: Rule = ["a `HostedLogin`", (value) => value instanceof HostedLogin];

export const handlersRules = (): Rules<HostedHandlersOptions> => ({
  logins: needed(loginsRule),
  account: needed(callback),
  serverUrl: needed(callback),
  scopes: callback,
  onError: callback,
});

/**
 * Handlers for a web app's routes. Only the path and query of a request are used, never its host: the app is
 * where the redirect URI is.
 *
 * @example
 * ```ts
 * const { connect, callback, disconnect } = hostedHandlers({
 *   logins,
 *   account: async (request) => (await session(request))?.userId,
 *   serverUrl: () => "https://mcp.example.com/mcp",
 * });
 * app.post("/mcp/connect", (c) => connect(c.req.raw));
 * app.get("/mcp/callback", (c) => callback(c.req.raw));
 * app.post("/mcp/disconnect", (c) => disconnect(c.req.raw));
 * ```
 *
 * @throws McpAuthError `invalid_option`
 */
export function hostedHandlers(options: HostedHandlersOptions): HostedHandlers {
  checkOptions(options, handlersRules());
  const { logins, account: accountOf, serverUrl: serverOf, scopes: scopesOf, onError } = options;
  const app = logins.redirectUri;

  /** A route that takes one method. What fails by our own doing ends on a page; the app's failures are its own. */
  const route =
    (method: "GET" | "POST", work: (request: Request, query: URLSearchParams) => Promise<Response>): WebHandler =>
    async (request) => {
      if (request.method !== method) return new Response(null, { status: 405, headers: { ...answerHeaders, allow: method } });
      try {
        return await work(request, new URL(request.url, app).searchParams);
      } catch (error) {
        if (!(error instanceof McpAuthError)) throw error;
        const own = await onError?.(error, request);
        if (own) return own;
        const { errorPage } = await import("./error-page.ts");
        return errorPage(error);
      }
    };

  /** What a user does with a server, by a page of the app. */
  const deed = (work: (login: { account: string; serverUrl: string | URL }, request: Request, returnTo: string) => Promise<Response>) =>
    route("POST", async (request, query) => {
      if (!isFromApp(request, app)) return refusal(403, "This request must come from a page of the app.");
      const account = await accountOf(request);
      if (account === undefined) throw new LoginRequiredError({ party: "app", detail: "nobody is signed in", hint: "Sign in first." });
      const serverUrl = await serverOf(request);
      if (serverUrl === undefined) return refusal(404, "There is no such server.");
      return work({ account, serverUrl }, request, query.get("returnTo") || "/");
    });

  return {
    connect: deed(async (login, request, returnTo) => {
      const { url, cookie } = await logins.beginAuthorization({ ...login, returnTo, scopes: scopesOf?.(request) });
      return seeOther(url.href, cookie);
    }),

    callback: route("GET", async (request) => {
      const account = await accountOf(request);
      try {
        const { returnTo } = await logins.finishAuthorization(request, { account });
        return seeOther(returnTo);
      } catch (error) {
        // A second tap, or the visit after a prefetch.
        const finished = finishedBefore(error);
        if (finished) return seeOther(finished.returnTo);
        throw error;
      }
    }),

    disconnect: deed(async (login, _request, returnTo) => {
      const place = placeInApp(app, returnTo);
      await logins.logout(login);
      return seeOther(place);
    }),
  };
}

/** A redirect that is always a GET, whatever came before. @see RFC 9700 §4.12 */
function seeOther(location: string, cookie?: string): Response {
  const headers = new Headers({ ...answerHeaders, location });
  if (cookie !== undefined) headers.append("set-cookie", cookie);
  return new Response(null, { status: 303, headers });
}

function refusal(status: number, text: string): Response {
  return new Response(text, { status, headers: { ...answerHeaders, "content-type": "text/plain; charset=utf-8" } });
}
