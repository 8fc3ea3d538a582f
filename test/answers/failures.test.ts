/** Failures at every station of a login: a documented code, and everything stored stays as it was. */
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { LoginRequiredError, McpAuthError } from "../../src/errors.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import type { TokenManagerOptions } from "../../src/user/options.ts";
import { type Answer, failure, never, world } from "../discovery/support.ts";
import { call, issuer, manager, outcome, protectedWorld, serverUrl, stored, stubUser, text } from "./support.ts";

const net = world();
const resourceMetadata = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
const serverMetadata = `${issuer}/.well-known/oauth-authorization-server`;
const goodMetadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  code_challenge_methods_supported: ["S256"],
};

const nothing: Answer = () => new HttpResponse(null, { status: 404 });
const garbage = text('{"issuer":', {});

/** What goes wrong, and the code that tells it. */
const cases: [what: string, code: string, answers: Record<string, Answer>, options?: Partial<TokenManagerOptions>][] = [
  ["the server cannot be reached", "network_error", { [serverUrl]: "unreachable" }],
  ["the server fails", "server_error", { [serverUrl]: 503 }],
  ["the server asks to slow down", "rate_limited", { [serverUrl]: 429 }],
  [
    "resource metadata of another server",
    "resource_mismatch",
    { [resourceMetadata]: { resource: "https://other.example/mcp", authorization_servers: [issuer] } },
  ],
  [
    "an authorization server that is no URL",
    "invalid_url",
    { [resourceMetadata]: { resource: serverUrl, authorization_servers: ["not a URL"] } },
  ],
  [
    "an authorization server over plain http",
    "insecure_url",
    { [resourceMetadata]: { resource: serverUrl, authorization_servers: ["http://as.example"] } },
  ],
  ["no metadata of the authorization server", "discovery_failed", { [serverMetadata]: nothing }],
  ["metadata that is truncated", "discovery_failed", { [serverMetadata]: garbage }],
  ["metadata as an HTML page", "discovery_failed", { [serverMetadata]: text("<!doctype html>", { type: "text/html" }) }],
  ["metadata that fails for the moment", "server_error", { [serverMetadata]: 503, [`${issuer}/.well-known/openid-configuration`]: 503 }],
  ["metadata of another issuer", "issuer_mismatch", { [serverMetadata]: { ...goodMetadata, issuer: "https://evil.example" } }],
  [
    "REQ-ASM-03 metadata without PKCE",
    "pkce_unsupported",
    { [serverMetadata]: { ...goodMetadata, code_challenge_methods_supported: undefined } },
  ],
  [
    "REQ-ASM-03 metadata with plain PKCE only",
    "pkce_unsupported",
    { [serverMetadata]: { ...goodMetadata, code_challenge_methods_supported: ["plain"] } },
  ],
  [
    "no authorization endpoint",
    "discovery_failed",
    { [serverMetadata]: { ...goodMetadata, authorization_endpoint: undefined } },
    { clientId: "mine" },
  ],
  ["no way to register", "registration_unsupported", { [serverMetadata]: goodMetadata }],
  [
    "registration refused",
    "registration_refused",
    { [`${issuer}/register`]: () => HttpResponse.json({ error: "invalid_redirect_uri" }, { status: 400 }) },
  ],
  ["registration that answers with a page", "registration_refused", { [`${issuer}/register`]: text("<p>hello", { type: "text/html" }) }],
  ["registration that fails", "server_error", { [`${issuer}/register`]: 500 }],
  ["registration that cannot be reached", "network_error", { [`${issuer}/register`]: "unreachable" }],
  [
    "REQ-REG-06 a client of another authorization server",
    "client_issuer_mismatch",
    {},
    { clientId: "mine", issuer: "https://other.example" },
  ],
  ["a client with a secret and without it", "invalid_option", {}, { clientId: "mine", tokenEndpointAuthMethod: "client_secret_basic" }],
  ["a parameter that the app may not set", "invalid_option", {}, { authorizationParameters: { state: "x" } }],
  [
    "a chooser that invents a server",
    "invalid_option",
    { [resourceMetadata]: { resource: serverUrl, authorization_servers: [issuer, "https://b.example"] } },
    { chooseAuthorizationServer: () => "https://c.example" },
  ],
  ["a user who says no", "authorization_denied", {}, { loginHandler: stubUser("deny") }],
  ["a user who does not answer", "login_timeout", {}, { loginHandler: stubUser("silent"), loginTimeout: 30, clock: systemClock }],
  [
    "a registration that does not answer in the login's time",
    "login_timeout",
    { [`${issuer}/register`]: never },
    { loginTimeout: 30, clock: systemClock },
  ],
  ["no user", "login_required", {}, { interactive: false }],
];

test.each(cases.map(([what, code, answers, options]) => ({ what, code, answers, options })))(
  "$what: $code",
  async ({ code, answers, options }) => {
    protectedWorld(net);
    net.serve(answers);
    const store = new MemoryStore();
    const { auth } = manager({ loginHandler: stubUser(), ...options, store });
    const error = await failure(auth.authorize());
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/\.$/) });
    expect(error.message).not.toContain(error.hint);
    expect(auth.lastError).toBe(error);
    expect(await stored(store)).toBeUndefined();
  },
);

describe("a second login that fails leaves the first one, and its registration, as they were", () => {
  // With a registration, none is made; who can't be asked is no matter of stations before.
  const reached = cases.filter(([what]) => !/regist|no user|the server /.test(what));
  test.each(reached.map(([what, code, answers, options]) => ({ what, code, answers, options })))(
    "$what: $code",
    async ({ code, answers, options }) => {
      protectedWorld(net);
      const store = new MemoryStore();
      // One registration is good for both logins.
      const clientMetadata = options?.clientId === undefined ? { scope: "a b" } : undefined;
      await manager({ loginHandler: stubUser(), clientId: options?.clientId, clientMetadata, store }).auth.authorize();
      const before = await kept(store);
      expect(Object.keys(before).sort()).toEqual([
        expect.stringMatching(/^index/),
        expect.stringMatching(/^registrations/),
        expect.stringMatching(/^tokens/),
      ]);
      net.serve(answers);
      // Nothing that the first login has stored is used without a look.
      const { auth } = manager({ loginHandler: stubUser(), speculate: false, clientMetadata, ...options, store });
      expect(await outcome(auth.authorize({ scopes: ["b"] }))).toBe(code);
      expect(await kept(store)).toEqual(before);
      expect((await call(auth)).status).toBe(200);
    },
  );
});

/** Everything stored that is no cache. That a login was not answered is remembered with the registration. */
async function kept(store: MemoryStore): Promise<Record<string, unknown>> {
  const keys = (await store.keys("")).filter((key) => !/^(servers|refusals)\//.test(key));
  const records = keys.map(async (key) => {
    const { unanswered: _, ...record } = (await store.get(key)) ?? { v: 0 };
    return [key, record] as const;
  });
  return Object.fromEntries(await Promise.all(records));
}

describe("a store that fails", () => {
  const full = () => Promise.reject(new Error("ENOSPC: no space left on device"));
  const failing = (...names: (keyof MemoryStore)[]) => {
    const store = new MemoryStore();
    for (const name of names) Object.assign(store, { [name]: full });
    return store;
  };

  test.each<[string, (keyof MemoryStore)[]]>([
    ["reading", ["get"]],
    ["locking", ["withLock"]],
  ])("%s: store_failed, with the store's own error as cause", async (_what, names) => {
    protectedWorld(net);
    const { auth } = manager({ loginHandler: stubUser(), store: failing(...names) });
    const error = await failure(auth.authorize());
    expect(error).toMatchObject({ code: "store_failed", transient: true, cause: { message: expect.stringContaining("ENOSPC") } });
  });

  test.each<[string, (auth: ReturnType<typeof manager>["auth"]) => Promise<unknown>]>([
    ["getAccessToken", (auth) => auth.getAccessToken()],
    ["fetch", (auth) => call(auth)],
    ["logout", (auth) => auth.logout()],
    ["setTokens", (auth) => auth.setTokens({ accessToken: "x" })],
  ])("%s: store_failed", async (_what, act) => {
    protectedWorld(net);
    const { auth } = manager({ loginHandler: stubUser(), store: failing("get", "withLock") });
    expect(await outcome(act(auth))).toBe("store_failed");
  });

  test("records that nobody understands: invalid_record, and they stay", async () => {
    protectedWorld(net);
    const { auth, store } = manager({ loginHandler: stubUser() });
    await auth.authorize();
    const future = { v: 99, everything: "different" };
    await store.set(`tokens/default/${serverUrl}`, future);
    const later = manager({ loginHandler: stubUser(), store });
    expect(await outcome(later.auth.authorize())).toBe("invalid_record");
    expect(await outcome(call(later.auth))).toBe("invalid_record");
    expect(await store.get(`tokens/default/${serverUrl}`)).toEqual(future);
  });
});

describe("an app's own parts that fail", () => {
  test("a login handler that throws: its error, and the next login is possible", async () => {
    protectedWorld(net);
    const user = stubUser();
    let broken = true;
    const { auth } = manager({
      loginHandler: { start: (request) => (broken ? Promise.reject(new TypeError("broken handler")) : user.start(request)) },
    });
    await expect(auth.authorize()).rejects.toThrow("broken handler");
    broken = false;
    expect(await auth.authorize()).toBe("authorized");
  });

  test("an event listener that throws breaks nothing", async () => {
    protectedWorld(net);
    const onEvent = () => {
      throw new Error("broken listener");
    };
    expect(await manager({ loginHandler: stubUser(), onEvent }).auth.authorize()).toBe("authorized");
  });

  test("a fetch that throws anything: network_error", async () => {
    const fetch = () => Promise.reject("no network here");
    expect(await outcome(manager({ loginHandler: stubUser(), fetch }).auth.authorize())).toBe("network_error");
  });
});

test.each<[string, Partial<TokenManagerOptions>, string]>([
  ["javascript:", { serverUrl: "javascript:alert(1)" }, "invalid_url"],
  ["no URL", { serverUrl: "mcp.example" }, "invalid_url"],
  ["plain http", { serverUrl: "http://mcp.example/mcp" }, "insecure_url"],
  ["credentials in the URL", { serverUrl: "https://user:pass@mcp.example/mcp" }, "invalid_url"],
  ["an account with a slash", { account: "a/b" }, "invalid_option"],
  ["an empty account", { account: "" }, "invalid_option"],
  ["a secret without client", { clientSecret: "s" }, "invalid_option"],
])("options are checked when they are passed: %s", (_what, options, code) => {
  expect(() => manager(options)).toThrow(expect.objectContaining({ code }));
  expect(() => manager(options)).toThrow(McpAuthError);
});

test("login_required is a class of its own, to be told apart without comparing codes", async () => {
  protectedWorld(net);
  expect(await failure(manager({ interactive: false }).auth.getAccessToken())).toBeInstanceOf(LoginRequiredError);
});
