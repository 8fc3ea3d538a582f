import type { Grant, SimulatedAuthorizationServer } from "./authorization-server.ts";
import type { Answer, Judge } from "./judge.ts";
import type { SimulatedProcess } from "./process.ts";
import { type Fate, type Reply, type Request, Wire } from "./wire.ts";
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

/** The protected server, the authorization server, and the ways between them and the processes. */
export class Network extends Wire<SimulatedProcess, Answer> {
  /** How many of the next calls are refused although their token is good. */
  refusals = 0;
  readonly #world: World;
  readonly #issuer: SimulatedAuthorizationServer;
  readonly #judge: Judge;

  constructor(world: World, authorizationServer: SimulatedAuthorizationServer, judge: Judge) {
    super(world);
    this.#world = world;
    this.#issuer = authorizationServer;
    this.#judge = judge;
  }

  protected override onSent({ url, body, bearer }: Request, process: SimulatedProcess): void {
    const refreshToken = body.get("refresh_token");
    if (url.pathname === "/token" && refreshToken) this.#judge.onRefreshSent(refreshToken, process);
    if (url.href === resource && bearer) this.#judge.onHandedOut(bearer, process);
  }

  protected override onArrived(answer: Answer, process: SimulatedProcess): void {
    this.#judge.onArrived(answer, process);
  }

  protected override onReceived(answer: Answer, process: SimulatedProcess): void {
    this.#judge.onReceived(answer, process);
  }

  protected override reply(request: Request, process: SimulatedProcess, fate: Fate | undefined): Reply<Answer> {
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

  #call({ bearer }: Request, process: SimulatedProcess): Reply<Answer> {
    if (this.#issuer.acceptsAccess(bearer) && this.refusals === 0) return { status: 200, body: {} };
    this.refusals = Math.max(0, this.refusals - 1);
    if (bearer) process.wasRefused.add(bearer);
    return { status: 401, headers: { "www-authenticate": "Bearer" } };
  }

  #token(request: Request, process: SimulatedProcess, fate: Fate | undefined): Reply<Answer> {
    const token = request.body.get("refresh_token");
    if (fate?.what === "answered") {
      if (this.#world.broken === "invents refusals" && fate.status === 403) return { status: 400, body: { error: "invalid_grant" } };
      if (fate.status < 429) this.#judge.onRefusedInPassing(token);
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
