/** Servers that answer as a test says, without sockets: for what real servers will not do. */
import { onTestFinished } from "vitest";
import { type AuthEvent, type Clock, systemClock } from "../../src/index.ts";
import { MachineTokenManager, type MachineTokenManagerOptions } from "../../src/machine/index.ts";

export const serverUrl = "https://mcp.example/mcp";
export const issuer = "https://login.example";
export const resourceMetadata = "https://mcp.example/.well-known/oauth-protected-resource/mcp";

/** What a server is asked. */
export interface Asked {
  url: string;
  form: URLSearchParams;
  bearer: string | undefined;
  authorization: string | undefined;
  /** `params.name` of a tool call. */
  tool: string | undefined;
}

export type Answer = { status?: number; body?: unknown; headers?: Record<string, string> };
export type Route = (asked: Asked) => Answer | Promise<Answer>;

/** The servers of one test: a protected one, which takes the tokens that were issued and not revoked, and those that it names. */
export interface Scripted {
  fetch: typeof globalThis.fetch;
  /** Of the programs that ask them: a server that asks for time is not that of another test. */
  clock: Clock;
  /** By URL without query; replace them at will. */
  routes: Record<string, Route>;
  /** Everything that was asked. */
  log: Asked[];
  tokenRequests(): Asked[];
  /** Tokens that are good. */
  good: Set<string>;
  /** A new token that is good. */
  issue(facts?: Record<string, unknown>): Answer;
}

export function authorizationServer(name = issuer, more: Record<string, unknown> = {}): Answer {
  return { body: { issuer: name, token_endpoint: `${name}/token`, ...more } };
}

export function unauthorized(parts = ""): Answer {
  return { status: 401, headers: { "www-authenticate": `Bearer resource_metadata="${resourceMetadata}"${parts}` } };
}

export function lacking(scope: string): Answer {
  return { status: 403, headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${scope}"` } };
}

export function scripted(): Scripted {
  const good = new Set<string>();
  const log: Asked[] = [];
  let serial = 0;
  const issue = (facts: Record<string, unknown> = {}): Answer => {
    const access_token = `token-${++serial}-of-the-test`;
    good.add(access_token);
    return { body: { access_token, token_type: "Bearer", expires_in: 300, ...facts } };
  };
  const routes: Record<string, Route> = {
    [serverUrl]: ({ bearer }) => (good.has(bearer ?? "") ? { body: {} } : unauthorized()),
    [resourceMetadata]: () => ({ body: { resource: serverUrl, authorization_servers: [issuer] } }),
    [`${issuer}/.well-known/oauth-authorization-server`]: () => authorizationServer(),
    [`${issuer}/token`]: () => issue(),
  };
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const url = String(input).replace(/\?.*/, "");
    const authorization = new Headers(init?.headers).get("authorization") ?? undefined;
    const text = typeof init?.body === "string" ? init.body : "";
    const asked: Asked = {
      url,
      form: init?.body instanceof URLSearchParams ? init.body : new URLSearchParams(),
      bearer: authorization?.replace("Bearer ", ""),
      authorization,
      tool: /"name":"(\w+)"/.exec(text)?.[1],
    };
    log.push(asked);
    const { status = 200, body, headers } = (await routes[url]?.(asked)) ?? { status: 404 };
    init?.signal?.throwIfAborted();
    return new Response(body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body), {
      status,
      headers: headers ?? {},
    });
  };
  return {
    fetch,
    clock: { ...systemClock },
    routes,
    log,
    good,
    issue,
    tokenRequests: () => log.filter(({ form }) => form.has("grant_type")),
  };
}

/** A program that asks these servers. */
export function scriptedProgram(servers: Scripted, options: Partial<MachineTokenManagerOptions> = {}) {
  const events: AuthEvent[] = [];
  const auth = new MachineTokenManager({
    serverUrl,
    clientId: "ci",
    clientSecret: "a-secret-of-the-test",
    fetch: servers.fetch,
    clock: servers.clock,
    onEvent: (event) => void events.push(event),
    ...options,
  });
  onTestFinished(() => auth.dispose());
  const call = (tool = "whoami") =>
    auth.fetch(serverUrl, { method: "POST", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}"}}` });
  return { auth, events, call };
}
