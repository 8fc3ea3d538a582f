import { type Fate, type Reply, type Request, Wire } from "../../simulation/wire.ts";
import type { World } from "../../simulation/world.ts";
import type { Judge, Sent } from "./judge.ts";
import type { SimulatedProgram } from "./program.ts";

export const resource = "https://mcp.example/mcp";
export const issuer = "https://login.example";
const elsewhere = "https://evil.example";
const metadataUrl = "https://mcp.example/.well-known/oauth-protected-resource/mcp";

export type Tool = "read" | "write" | "admin";

/** How the authorization server treats its client. */
export interface Rules {
  /** Lifetime of tokens, in seconds. */
  lifetime: number;
  /** Whether answers say how long that is. */
  announced: boolean;
  /** What becomes of scopes that the client may not have. */
  narrowing: "refuses" | "leaves out";
}

interface Token {
  readonly scopes: readonly string[];
  readonly until: number;
  revoked: boolean;
}

/** The protected server, its authorization server, another one that nobody should trust, and the ways to them. */
export class Network extends Wire<SimulatedProgram, Sent> {
  /** The secret that the authorization server knows. */
  secret = "secret-number-1";
  /** What the client may have. */
  allowed: readonly string[] = ["read", "write", "admin"];
  /** The authorization server refuses everything that is asked of it. */
  refusesAll = false;
  /** How many of the next calls are refused although their token is good. */
  refusals = 0;
  /** The protected server names somebody else's authorization server. */
  hasMoved = false;
  readonly rules: Rules;
  readonly #world: World;
  readonly #judge: Judge;
  readonly #tokens = new Map<string, Token>();

  constructor(world: World, judge: Judge, rules: Rules) {
    super(world);
    this.#world = world;
    this.#judge = judge;
    this.rules = rules;
  }

  revokeAll(): void {
    for (const token of this.#tokens.values()) token.revoked = true;
  }

  protected override onSent(request: Request, program: SimulatedProgram): void {
    this.#judge.onSent(request, program);
  }

  protected override onGivenUp({ body }: Request): void {
    if (body.has("grant_type")) this.#judge.onGivenUp();
  }

  protected override onReceived(sent: Sent, program: SimulatedProgram): void {
    this.#judge.onAnswered(sent, program);
  }

  protected override reply(request: Request, program: SimulatedProgram, fate: Fate | undefined): Reply<Sent> {
    const { url, method } = request;
    const { href, origin, pathname } = url;
    if (href === resource) return method === "POST" ? this.#call(request) : { status: 405 };
    if (href === metadataUrl) return { status: 200, body: { resource, authorization_servers: [this.hasMoved ? elsewhere : issuer] } };
    if (pathname === "/.well-known/oauth-authorization-server" && (origin === issuer || origin === elsewhere))
      return { status: 200, body: { issuer: origin, token_endpoint: `${origin}/token` } };
    if (href !== `${issuer}/token`) return { status: 404 };
    const reply = this.#token(request, program, fate);
    // It may not be received.
    if (fate) this.#judge.onGivenUp();
    return reply;
  }

  #call({ bearer, text }: Request): Reply<Sent> {
    const token = this.#tokens.get(bearer ?? "");
    const isGood = token && !token.revoked && this.#world.now < token.until && !this.hasMoved;
    const named = `resource_metadata="${metadataUrl}"`;
    if (!isGood || this.refusals > 0) {
      this.#noteSilentEnd(token);
      if (isGood) {
        this.refusals--;
        this.#judge.onSetback();
      }
      this.#judge.onRefused();
      return { status: 401, headers: { "www-authenticate": `Bearer ${named}, scope="read"` } };
    }
    const [, needed = "read"] = /"name":"(\w+)"/.exec(text ?? "") ?? [];
    if (token.scopes.includes(needed)) return { status: 200, body: {} };
    this.#judge.onRefused(needed);
    return { status: 403, headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${needed}", ${named}` } };
  }

  /** Of a token that nobody knew the lifetime of: as if it were revoked. */
  #noteSilentEnd(token: Token | undefined): void {
    if (!token || token.revoked || this.rules.announced || this.#world.now < token.until) return;
    token.revoked = true;
    this.#judge.onSetback();
  }

  #token(request: Request, program: SimulatedProgram, fate: Fate | undefined): Reply<Sent> {
    const { body, authorization = "" } = request;
    if (fate?.what === "answered") return { status: fate.status, headers: fate.retryAfter ? { "retry-after": `${fate.retryAfter}` } : {} };
    const [, secret = ""] = atob(authorization.replace("Basic ", "")).split(":");
    const isKnown = secret === this.secret && !this.refusesAll;
    if (!isKnown)
      return { status: 401, body: { error: "invalid_client", error_description: `not ${secret}` }, answer: { refused: secret } };
    const wanted = body.get("scope")?.split(" ") ?? ["read"];
    const scopes = wanted.filter((scope) => this.allowed.includes(scope));
    if (scopes.length === 0 || (scopes.length < wanted.length && this.rules.narrowing === "refuses"))
      return { status: 400, body: { error: "invalid_scope" } };
    const token = `token-number-${this.#tokens.size + 1}`;
    const { lifetime, announced } = this.rules;
    this.#tokens.set(token, { scopes, until: this.#world.now + lifetime * 1000, revoked: false });
    // What nobody waits for any more gives no reason, and needs none.
    if (program.alive && program.requests.has(request)) this.#judge.onIssued(program, scopes);
    if (fate?.what === "mangled") return { status: 200, body: { access_token: null } };
    return {
      status: 200,
      body: { access_token: token, token_type: "Bearer", scope: scopes.join(" "), ...(announced && { expires_in: lifetime }) },
    };
  }
}
