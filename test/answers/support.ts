/** A whole token manager before made-up servers: login, refresh, and what is in the store afterwards. */
import { HttpResponse } from "msw";
import { onTestFinished } from "vitest";
import type { LoginHandler } from "../../src/authorization/login-handler.ts";
import type { Clock } from "../../src/clock.ts";
import { McpAuthError } from "../../src/errors.ts";
import type { AuthEvent } from "../../src/events.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import type { TokenManagerOptions } from "../../src/user/options.ts";
import { TokenManager } from "../../src/user/token-manager.ts";
import type { Answer, world } from "../discovery/support.ts";

export const serverUrl = "https://mcp.example/mcp";
export const issuer = "https://as.example";
export const tokenEndpoint = `${issuer}/token`;

/** What the authorization server says about itself. */
export const asMetadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: tokenEndpoint,
  registration_endpoint: `${issuer}/register`,
  code_challenge_methods_supported: ["S256"],
  token_endpoint_auth_methods_supported: ["none"],
};

/** What the first login brings; the lifetime is 1000 s. */
export const first = { access_token: "access-1", token_type: "Bearer", expires_in: 1000, refresh_token: "refresh-1", scope: "a" };

/** Time that passes only while somebody sleeps in the foreground, and when the test says so. */
export class TestClock implements Clock {
  time = Date.now();
  slept: number[] = [];
  /** Time limits, and what they wait for. */
  readonly limits = new Map<() => void, number>();
  now = () => this.time;
  sleep: Clock["sleep"] = async (ms, { signal, background } = {}) => {
    signal?.throwIfAborted();
    if (background) {
      return new Promise((resolve, reject) => {
        this.limits.set(resolve, this.time + ms);
        signal?.addEventListener("abort", () => reject(signal.reason));
        signal?.addEventListener("abort", () => this.limits.delete(resolve));
      });
    }
    this.slept.push(ms);
    this.time += ms;
  };
  /** Lets time pass until the first limit is reached. */
  reachLimit(): void {
    const [first] = [...this.limits].sort(([, a], [, b]) => a - b);
    if (!first) throw new Error("there is no limit");
    this.limits.delete(first[0]);
    this.time = first[1];
    first[0]();
  }
}

/** A body as it stands. */
export const text =
  (
    body: string | null,
    { status = 200, type = "application/json", headers = {} }: { status?: number; type?: string; headers?: object } = {},
  ): Answer =>
  () =>
    new HttpResponse(body, { status, headers: { "content-type": type, ...headers } });
export const json = (body: unknown, status = 200): Answer => text(JSON.stringify(body), { status });

/** A user who allows, denies, or never answers. */
export function stubUser(decision: "allow" | "deny" | "silent" = "allow"): LoginHandler & { asked: URL[]; open: number } {
  const asked: URL[] = [];
  const handler = {
    asked,
    /** Places that wait for an answer. */
    open: 0,
    start: async () => {
      const redirectUri = "http://127.0.0.1:4711/callback";
      handler.open++;
      return {
        redirectUri,
        redirectUris: [redirectUri],
        authorize: async (url: URL, receive: (parameters: URLSearchParams) => Promise<void>, signal: AbortSignal) => {
          asked.push(url);
          const state = url.searchParams.get("state") ?? "";
          if (decision === "allow") return receive(new URLSearchParams({ state, code: "the-authorization-code" }));
          if (decision === "deny") return receive(new URLSearchParams({ state, error: "access_denied" }));
          return new Promise<void>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        },
        close: async () => {
          handler.open--;
        },
      };
    },
  };
  return handler;
}

/** Servers that behave, except for what a test replaces. */
export function protectedWorld({ serve }: ReturnType<typeof world>) {
  const tokenRequests: Record<string, string>[] = [];
  const bearers: (string | null)[] = [];
  let tokens: Answer[] = [json(first)];
  let accepted = new Set(["access-1"]);

  serve({
    [serverUrl]: (request) => {
      const bearer = request.headers.get("authorization")?.replace("Bearer ", "") ?? null;
      bearers.push(bearer);
      if (bearer !== null && accepted.has(bearer)) return HttpResponse.json({ ok: true });
      return new HttpResponse(null, { status: 401, headers: { "www-authenticate": 'Bearer scope="a"' } });
    },
    "https://mcp.example/.well-known/oauth-protected-resource/mcp": {
      resource: serverUrl,
      authorization_servers: [issuer],
    },
    [`${issuer}/.well-known/oauth-authorization-server`]: asMetadata,
    [`${issuer}/register`]: () => HttpResponse.json({ client_id: "client-1" }, { status: 201 }),
    [tokenEndpoint]: async (request) => {
      const form = Object.fromEntries(new URLSearchParams(await request.clone().text()));
      tokenRequests.push(form);
      const answer = tokens.length > 1 ? tokens.shift() : tokens[0];
      if (answer === "unreachable") return HttpResponse.error();
      if (typeof answer === "function") return answer(request);
      throw new Error("answer with a function");
    },
  });
  return {
    tokenRequests,
    bearers,
    /** What the token endpoint answers next; the last one for ever. */
    answerTokens: (...answers: Answer[]) => {
      tokens = answers;
    },
    /** Which access tokens the protected server takes. */
    accept: (...bearer: string[]) => {
      accepted = new Set(bearer);
    },
  };
}

/** A manager that ends with the test. */
export function manager(options: Partial<TokenManagerOptions> = {}) {
  const events: AuthEvent[] = [];
  const clock = options.clock instanceof TestClock ? options.clock : new TestClock();
  const store = options.store ?? new MemoryStore();
  const auth = new TokenManager({ serverUrl, onEvent: (event) => events.push(event), clock, ...options, store });
  onTestFinished(() => auth.dispose());
  return { auth, clock, store, events };
}

/** The tokens that are stored; `undefined` when there is no login. */
export async function stored(store: { get: MemoryStore["get"] }): Promise<{ access?: unknown; refresh?: unknown } | undefined> {
  const record = await store.get(`tokens/default/${serverUrl}`);
  if (!record) return undefined;
  return {
    ...(record.accessToken ? { access: record.accessToken } : {}),
    ...(record.refreshToken ? { refresh: record.refreshToken } : {}),
  };
}

/** A value, or the code of the error. */
export function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => {
    if (error instanceof McpAuthError) return error.code;
    throw error;
  });
}

export const call = (auth: TokenManager) => auth.fetch(serverUrl, { method: "POST", body: "{}" });
