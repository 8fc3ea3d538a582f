/** A provider made of its public documents: a `fetch` that answers for its real host names, and a user who agrees to everything. */
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { type AuthEvent, authFetch, type LoginHandler, MemoryStore, TokenManager, type TokenManagerOptions } from "../../src/index.ts";

/** What a provider publishes, and how it behaves. */
export interface Provider {
  /** The protected server. */
  url: string;
  /** `WWW-Authenticate` of its refusal. Default: the URL of its metadata at the well-known place of the path. */
  challenge?: string | undefined;
  /** What a GET of these URLs answers: JSON, or a status. Everything else is 404. */
  documents: Readonly<Record<string, object | number>>;
  /** Where its users and clients go, if its documents do not say. */
  endpoints?: { authorize: string; token: string } | undefined;
  /** Parameters that it refuses in the authorization request and the token requests. */
  refuses?: readonly string[] | undefined;
  /** Parameters without which the authorization request fails. */
  needs?: readonly string[] | undefined;
  /** Parameters without which a refresh fails. */
  refreshNeeds?: readonly string[] | undefined;
  /** The only host of loopback redirect URIs. */
  redirectHost?: "localhost" | "127.0.0.1" | undefined;
  /** Which token the protected server wants. */
  bearer?: "id_token" | undefined;
  tokenType?: string | undefined;
  /** Status of every registration. Default: it registers whoever asks. */
  registration?: number | undefined;
}

/** What came of a login, of the first call, and of a call once token and metadata are out of date. */
export interface Outcome {
  /** `works`, or the code of the error. */
  login: string;
  refresh?: string | undefined;
  message?: string | undefined;
  issuer?: string | undefined;
  profile?: string | undefined;
  concessions: readonly string[];
  /** `resource` of the authorization request. */
  resource?: string | null | undefined;
}

const day = 86_400_000;
const json = (status: number, body: object, headers = {}) => Response.json(body, { status, headers });

/** Logs in at a provider as an app with these options does. */
export async function logInAt(provider: Provider, options: Partial<TokenManagerOptions>): Promise<Outcome> {
  const { fetch, agree, seen } = open(provider);
  let time = Date.parse("2026-11-20T12:00:00Z");
  const clock: Clock = { now: () => time, sleep: systemClock.sleep };
  const events: AuthEvent[] = [];
  const loginHandler: LoginHandler = {
    async start({ redirectUris, fixed, redirectHost = "127.0.0.1" }) {
      const all = fixed && redirectUris ? [...redirectUris] : [`http://${redirectHost}:53000/callback`];
      return {
        redirectUri: all[0] ?? "",
        redirectUris: all,
        close: async () => {},
        authorize: async (url, receive) => void (await receive(agree(url))),
      };
    },
  };
  const more = { store: new MemoryStore(), clock, fetch, loginHandler, onEvent: (event: AuthEvent) => void events.push(event) };
  const auth = new TokenManager({ serverUrl: provider.url, ...more, ...options });
  const call = async () => (await authFetch(auth, provider.url, { fetch })(provider.url, { method: "POST", body: "{}" })).status;
  const outcome = (login: string): Outcome => {
    const told = events.flatMap((event) => (event.type === "discovery.concession" ? [event] : []));
    return {
      login,
      issuer: events.flatMap((event) => (event.type === "discovery.finished" ? event.issuer : [])).at(-1),
      profile: told.find(({ concession }) => concession === "profile")?.detail,
      concessions: [...new Set(told.map(({ concession }) => concession).filter((name) => name !== "profile"))].sort(),
      resource: seen.resource,
    };
  };
  try {
    await auth.authorize();
    const status = await call();
    const first = outcome(status === 200 ? "works" : String(status));
    const windows = seen.logins;
    // The token is out of date, and so are the metadata of its server.
    time += 30 * day;
    const later = await call();
    // The server refuses a token that is not: where it came from is looked up again.
    seen.accepted.clear();
    const refused = await call();
    const works = later === 200 && refused === 200 && seen.logins === windows;
    return { ...first, refresh: works ? "works" : `${later} ${refused}, ${seen.logins - windows} logins` };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { ...outcome(code ?? message), message };
  } finally {
    await auth.dispose();
  }
}

function open(provider: Provider) {
  const server = new URL(provider.url);
  const wellKnown = `${server.origin}/.well-known/oauth-protected-resource${server.pathname === "/" ? "" : server.pathname}`;
  const challenge = provider.challenge ?? `Bearer resource_metadata="${wellKnown}"`;
  const published = Object.values(provider.documents).map((document) => Object(document) as Record<string, unknown>);
  const listed = (name: string, given?: string) => [...(given ? [given] : []), ...published.map((document) => document[name])];
  const tokenEndpoints = listed("token_endpoint", provider.endpoints?.token);
  const authorizationEndpoints = listed("authorization_endpoint", provider.endpoints?.authorize);
  const registrationEndpoints = listed("registration_endpoint");
  const seen = { accepted: new Set<string>(), logins: 0, resource: undefined as string | null | undefined };
  let serial = 0;

  const tokens = () => {
    const [access, id] = [`access-${++serial}`, `id-${serial}`];
    seen.accepted.clear();
    seen.accepted.add(provider.bearer ? id : access);
    const pair = { access_token: access, refresh_token: `refresh-${serial}`, ...(provider.bearer && { id_token: id }) };
    return json(200, { ...pair, token_type: provider.tokenType ?? "Bearer", expires_in: 3600 });
  };

  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const { url } = request;
    if (url === provider.url || url === server.href) {
      const bearer = request.headers.get("authorization")?.replace("Bearer ", "") ?? "";
      return seen.accepted.has(bearer) ? json(200, {}) : json(401, {}, challenge ? { "www-authenticate": challenge } : {});
    }
    if (request.method === "GET") {
      const document = provider.documents[url] ?? 404;
      return typeof document === "number" ? new Response("<!doctype html>", { status: document }) : json(200, document);
    }
    if (registrationEndpoints.includes(url)) {
      if (provider.registration) return json(provider.registration, { error: "access_denied" });
      return json(201, { ...((await request.json()) as object), client_id: "registered" });
    }
    if (!tokenEndpoints.includes(url)) return json(404, {});
    const form = new URLSearchParams(await request.text());
    const needed = form.get("grant_type") === "refresh_token" ? (provider.refreshNeeds ?? []) : ["code_verifier"];
    const isWrong = provider.refuses?.some((name) => form.has(name)) || needed.some((name) => !form.has(name));
    return isWrong ? json(400, { error: "invalid_request" }) : tokens();
  };

  /** The answer of the user's browser. */
  const agree = (url: URL) => {
    const { searchParams: asked } = url;
    seen.logins++;
    seen.resource = asked.get("resource");
    const isThere = authorizationEndpoints.some((endpoint) => String(endpoint).split("?")[0] === url.href.split("?")[0]);
    const host = new URL(asked.get("redirect_uri") ?? "").hostname;
    const isWrong =
      !isThere ||
      asked.get("code_challenge_method") !== "S256" ||
      (provider.redirectHost ?? host) !== host ||
      provider.refuses?.some((name) => asked.has(name)) ||
      provider.needs?.some((name) => !asked.has(name));
    return new URLSearchParams({ state: asked.get("state") ?? "", ...(isWrong ? { error: "invalid_request" } : { code: "code" }) });
  };
  return { fetch, agree, seen };
}
