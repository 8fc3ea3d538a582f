import type { Grant, SimulatedAuthorizationServer } from "./authorization-server.ts";
import type { Answer, Judge } from "./judge.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

export const resource = "https://mcp.example/mcp";
export const issuer = "https://login.example";

export const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  revocation_endpoint: `${issuer}/revoke`,
  response_types_supported: ["code"],
  code_challenge_methods_supported: ["S256"],
};

/** What becomes of one request. */
export type Fate =
  /** It never arrives. */
  | { what: "unsent" }
  /** It is processed; the connection breaks before the answer is there. */
  | { what: "lost" }
  /** It is processed; nothing ever comes back. */
  | { what: "hangs" }
  /** It arrives late; or its answer does. Times in ms. */
  | { what: "slow"; there: number; back: number }
  /** A proxy or the server answers without having looked at it. */
  | { what: "answered"; status: 403 | 429 | 500 | 503; retryAfter?: number }
  /** It is processed, and the answer holds a refresh token, but no access token. */
  | { what: "mangled" };

/** A request as the servers see it. */
export interface Request {
  url: URL;
  method: string;
  body: URLSearchParams;
  bearer: string | undefined;
}

interface Reply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
  /** The refresh that it answers. */
  answer?: Answer;
}

/** The protected server, the authorization server, and the ways between them and the processes. */
export class Network {
  /** What becomes of the next token requests. */
  readonly fates: Fate[] = [];
  /** How many of the next calls are refused although their token is good. */
  refusals = 0;
  readonly #world: World;
  readonly #issuer: SimulatedAuthorizationServer;
  readonly #judge: Judge;

  constructor(world: World, authorizationServer: SimulatedAuthorizationServer, judge: Judge) {
    this.#world = world;
    this.#issuer = authorizationServer;
    this.#judge = judge;
  }

  /** A process's `fetch`. */
  fetchFor(process: SimulatedProcess): typeof globalThis.fetch {
    return (input, init) =>
      new Promise((resolve, reject) => {
        const { signal } = init ?? {};
        if (signal?.aborted) return reject(signal.reason);
        const request = read(input, init);
        process.requests.add(request);
        signal?.addEventListener("abort", () => {
          process.requests.delete(request);
          reject(signal.reason);
        });
        this.#onSent(request, process);
        this.#send(request, process, (reply) => {
          if (!process.requests.delete(request)) return;
          if (!reply) return reject(new TypeError("fetch failed"));
          if (reply.answer) this.#judge.onReceived(reply.answer, process);
          this.#world.handsOver();
          resolve(response(reply));
        });
      });
  }

  /** @param receive what the process does with the answer, or with a connection that broke */
  #send(request: Request, process: SimulatedProcess, receive: (reply?: Reply) => void): void {
    const world = this.#world;
    const { pathname } = request.url;
    const fate = pathname === "/token" ? this.fates.shift() : undefined;
    if (fate) world.counts["faults of the network"]++;
    const breakOff = () => world.step("broken", process, () => receive());
    const deliver = (reply: Reply) => world.step(`answer ${reply.status}`, process, () => receive(reply));
    const arrive = () => {
      if (!process.alive && process.isCutOff) return;
      const reply = this.#reply(request, process, fate);
      if (fate?.what === "lost") breakOff();
      else if (fate?.what === "slow") world.after(fate.back, undefined, () => deliver(reply));
      else if (fate?.what !== "hangs") deliver(reply);
    };
    if (fate?.what === "unsent") breakOff();
    else if (fate?.what === "slow") world.after(fate.there, undefined, () => world.step(`request ${pathname}, late`, undefined, arrive));
    else world.step(`request ${pathname}`, undefined, arrive);
  }

  #onSent({ url, body, bearer }: Request, process: SimulatedProcess): void {
    const refreshToken = body.get("refresh_token");
    if (url.pathname === "/token" && refreshToken) this.#judge.onRefreshSent(refreshToken, process);
    if (url.href === resource && bearer) this.#judge.onHandedOut(bearer, process);
  }

  #reply(request: Request, process: SimulatedProcess, fate: Fate | undefined): Reply {
    const { url, method, body } = request;
    if (url.href === resource) return method === "POST" ? this.#call(request, process) : { status: 405 };
    if (url.pathname === "/.well-known/oauth-protected-resource/mcp")
      return { status: 200, body: { resource, authorization_servers: [issuer] } };
    if (url.origin === issuer && url.pathname === "/.well-known/oauth-authorization-server") return { status: 200, body: metadata };
    if (url.pathname === "/revoke") {
      this.#judge.onRevoked(body.get("token") ?? "", process);
      this.#issuer.revoke(body.get("token") ?? "");
      return { status: 200 };
    }
    return url.pathname === "/token" ? this.#token(request, process, fate) : { status: 404 };
  }

  #call({ bearer }: Request, process: SimulatedProcess): Reply {
    if (this.#issuer.acceptsAccess(bearer) && this.refusals === 0) return { status: 200, body: {} };
    this.refusals = Math.max(0, this.refusals - 1);
    if (bearer) process.wasRefused.add(bearer);
    return { status: 401, headers: { "www-authenticate": "Bearer" } };
  }

  #token(request: Request, process: SimulatedProcess, fate: Fate | undefined): Reply {
    const token = request.body.get("refresh_token");
    if (fate?.what === "answered") {
      if (this.#world.broken === "invents refusals" && fate.status === 403) return { status: 400, body: { error: "invalid_grant" } };
      return { status: fate.status, headers: fate.retryAfter ? { "retry-after": `${fate.retryAfter}` } : {} };
    }
    if (token === null) return { status: 200, body: this.#body(this.#issuer.logIn(), true) };
    this.#world.counts["refresh requests"]++;
    const grant = this.#issuer.refresh(token);
    if (!grant) {
      this.#judge.onRefused(token, process, process.alive && process.requests.has(request));
      return { status: 400, body: { error: "invalid_grant" } };
    }
    const answer = { token, grant, sender: process };
    this.#judge.onRefreshProcessed(answer);
    const whole = this.#body(grant, this.#issuer.rules.rotation !== "fixed");
    return { status: 200, body: fate?.what === "mangled" ? { ...whole, access_token: null } : whole, answer };
  }

  #body({ accessToken, refreshToken }: Grant, isNew: boolean): Record<string, unknown> {
    const { announced, lifetime } = this.#issuer.rules;
    return {
      access_token: accessToken,
      token_type: "Bearer",
      ...(announced && { expires_in: lifetime }),
      ...(isNew && { refresh_token: refreshToken }),
    };
  }
}

function read(input: Parameters<typeof globalThis.fetch>[0], init: RequestInit = {}): Request {
  const bearer = new Headers(init.headers).get("authorization")?.replace("Bearer ", "");
  return {
    url: new URL(String(input)),
    method: init.method ?? "GET",
    body: init.body instanceof URLSearchParams ? init.body : new URLSearchParams(),
    bearer,
  };
}

function response({ status, body, headers }: Reply): Response {
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: headers ?? {} });
}
