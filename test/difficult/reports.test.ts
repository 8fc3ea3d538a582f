/**
 * What users of other clients reported about servers, replayed. Each row says what the server does and what is right; the address of
 * the report is above it.
 */
import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import type { LoginHandler, LoginSession, McpAuthError, TokenManager, TokenManagerOptions } from "../../src/index.ts";
import { call, first, issuer, json, manager, protectedWorld, serverUrl, stubUser, text, tokenEndpoint } from "../answers/support.ts";
import { type Answer, world } from "../discovery/support.ts";

const net = world();
const root = "https://mcp.example";
const resourcePlace = `${root}/.well-known/oauth-protected-resource/mcp`;
const resource = { resource: serverUrl, authorization_servers: [issuer] };
const registrationEndpoint = `${issuer}/register`;

/** A server that lets in whoever has a token, and answers others so. */
const refusing =
  (status: number, headers: Record<string, string> = {}): Answer =>
  ({ headers: sent }) =>
    sent.has("authorization") ? HttpResponse.json({ ok: true }) : new HttpResponse(null, { status, headers });
const challenging = (challenge: string) => refusing(401, { "www-authenticate": challenge });
const redirect =
  (status: number, location: string): Answer =>
  () =>
    new HttpResponse(null, { status, headers: { location } });
/** Answers POSTs alone. */
const posted =
  (answer: Answer): Answer =>
  (request) =>
    request.method === "POST" && typeof answer === "function" ? answer(request) : new HttpResponse(null, { status: 405 });

/** A user whom the authorization server sends back with these parameters. */
function answering(parameters: Record<string, string>): LoginHandler {
  const redirectUri = "http://127.0.0.1:4711/callback";
  const authorize: LoginSession["authorize"] = (url, receive) =>
    receive(new URLSearchParams({ state: url.searchParams.get("state") ?? "", ...parameters }));
  return { start: async () => ({ redirectUri, redirectUris: [redirectUri], authorize, close: async () => {} }) };
}

interface Report {
  /** What the server does. */
  server: string;
  /** Answers that differ from those of servers that behave. */
  answers?: Record<string, Answer>;
  /** What the token endpoint answers, in order. */
  tokens?: Answer[];
  options?: Partial<TokenManagerOptions>;
  /** What is right. Where `error` is left out: `authorize()`, a call and a call after expiry succeed, with one login. */
  right?: {
    /** What `authorize()` rejects with: code and party, and what message and hint must say. */
    error?: { code: string; party?: string; message?: RegExp; hint?: RegExp };
    /** Parameters of the first authorization request. */
    asked?: Record<string, string>;
    windows?: number;
    tokenRequests?: number;
  };
}

/** Logs in, calls, waits until the token has expired, calls again. */
async function replay({ answers = {}, tokens, options }: Report) {
  const server = protectedWorld(net);
  if (tokens) server.answerTokens(...tokens);
  server.accept("access-1", "access-2");
  net.serve(answers);
  const loginHandler = stubUser();
  const { auth, clock } = manager({ loginHandler, ...options });
  const login = await auth.authorize().catch((error: McpAuthError) => error);
  const first = login instanceof Error ? undefined : (await call(auth)).status;
  clock.time += 1001_000;
  const later = login instanceof Error ? undefined : (await call(auth)).status;
  const [asked] = loginHandler.asked;
  const parameters = asked && Object.fromEntries(asked.searchParams);
  return {
    login,
    calls: [first, later],
    windows: loginHandler.asked.length,
    asked: parameters,
    tokenRequests: server.tokenRequests.length,
  };
}

/** What is said of a server that publishes nothing: whose mistake it is, and which two things it may be. */
const nothingPublished = { code: "discovery_failed", party: "server", message: /publishes none.*\/register/, hint: /API keys.*`issuer`/ };

const reports: Report[] = [
  // https://github.com/anomalyco/opencode/pull/49241
  {
    server: "repeats the query of its URL in the resource's name",
    options: { serverUrl: `${serverUrl}?mode=a` },
    answers: {
      [`${serverUrl}?mode=a`]: challenging(`Bearer resource_metadata="${resourcePlace}?mode=a"`),
      [serverUrl]: refusing(401),
      [`${resourcePlace}?mode=a`]: { ...resource, resource: `${serverUrl}?mode=a` },
    },
    right: { asked: { resource: `${serverUrl}?mode=a` } },
  },
  // https://github.com/QwenLM/qwen-code/issues/5343
  {
    server: "puts spaces around the equals signs of its challenge",
    answers: {
      [serverUrl]: challenging(`Bearer realm = "x" , resource_metadata = "${root}/meta"`),
      [resourcePlace]: 404,
      [`${root}/meta`]: resource,
    },
  },
  // https://github.com/QwenLM/qwen-code/issues/5343
  {
    server: "quotes its challenge as JavaScript does",
    answers: { [serverUrl]: challenging(`Bearer resource_metadata='${root}/meta'`), [resourcePlace]: 404, [`${root}/meta`]: resource },
  },
  // https://github.com/getsentry/sentry-mcp/issues/939
  {
    server: "names two places for its metadata, the first of which is dead",
    answers: {
      [serverUrl]: challenging(
        `Bearer resource_metadata="${root}/.well-known/oauth-protected-resource", resource_metadata="${resourcePlace}"`,
      ),
    },
  },
  // https://github.com/anthropics/claude-ai-mcp/issues/748
  {
    server: "has its challenge in another header, because Amazon API Gateway is before it, and its metadata below a stage",
    answers: {
      [serverUrl]: refusing(401, { "x-amzn-remapped-www-authenticate": `Bearer resource_metadata="${root}/prod/meta"` }),
      [resourcePlace]: 403,
      [`${root}/prod/meta`]: resource,
    },
  },
  // https://github.com/github/copilot-cli/issues/4439
  {
    server: "lists its one name in an array (GitLab)",
    answers: { [resourcePlace]: { ...resource, resource: [serverUrl], scopes_supported: ["mcp"] }, [serverUrl]: refusing(401) },
    right: { asked: { resource: serverUrl, scope: "mcp" } },
  },
  // https://github.com/punkpeye/fastmcp/issues/180
  {
    server: "answers 400 instead of 401, because the session is missing, too",
    answers: { [serverUrl]: refusing(400) },
  },
  // https://github.com/langgenius/dify/issues/36230
  {
    server: "lets anybody connect (Google Drive), and says in its metadata alone that a login is needed",
    answers: { [serverUrl]: () => HttpResponse.json({ ok: true }) },
  },
  // https://github.com/OpenLiberty/open-liberty/issues/33634
  {
    server: "answers 403 without challenge instead of 401",
    answers: { [serverUrl]: refusing(403) },
  },
  // https://github.com/agencyenterprise/draft-detective/issues/774, https://github.com/zoho/analytics-mcp-server/pull/22
  {
    server: "redirects to the URL with a final slash before it asks for a login, and describes only that one",
    answers: {
      [serverUrl]: redirect(307, "/mcp/"),
      [`${serverUrl}/`]: challenging(`Bearer resource_metadata="${resourcePlace}/"`),
      [resourcePlace]: 404,
      [`${resourcePlace}/`]: resource,
    },
  },
  // https://github.com/BerriAI/litellm/pull/34845, https://github.com/chainguard-dev/edu/pull/3704
  {
    server: "redirects to the URL with a final slash, by http, because a proxy ends TLS",
    answers: { [serverUrl]: redirect(307, "http://mcp.example/mcp/"), [`${serverUrl}/`]: posted(refusing(401)) },
  },
  // https://github.com/wmde/WikidataMCP/issues/3, https://github.com/open-webui/open-webui/pull/21338
  {
    server: "redirects to the URL with a final slash by 301, which makes a GET of a POST elsewhere",
    answers: { [serverUrl]: redirect(301, "/mcp/"), [`${serverUrl}/`]: posted(refusing(401)) },
  },
  // https://github.com/anthropics/claude-ai-mcp/issues/136
  {
    server: "redirects the registration to the URL with a final slash by 301 (Django)",
    answers: {
      [registrationEndpoint]: redirect(301, "/register/"),
      [`${registrationEndpoint}/`]: posted(json({ client_id: "client-1" }, 201)),
    },
  },
  // https://github.com/freelawproject/courtlistener/issues/7927
  {
    server: "redirects token requests to the URL with a final slash",
    answers: { [tokenEndpoint]: redirect(301, "/token/"), [`${tokenEndpoint}/`]: posted(json(first)) },
    right: { tokenRequests: 0 },
  },
  // https://github.com/ory/hydra/issues/4116, https://github.com/sigbit/mcp-auth-proxy/issues/173,
  // https://github.com/wso2/product-is/issues/11025, https://github.com/jitsucom/jitsu/pull/1430
  {
    server: "registers with null and empty text for what was not asked, and a secret whose expiry it does not tell",
    answers: {
      [registrationEndpoint]: json({
        client_id: "client-1",
        client_secret: "secret",
        client_secret_expires_at: null,
        token_endpoint_auth_method: "",
        grant_types: null,
        response_types: null,
        redirect_uris: null,
        contacts: null,
        client_uri: "",
        logo_uri: null,
      }),
    },
  },
  // https://github.com/laravel/mcp/issues/85
  {
    server: "gives out a number as client ID",
    answers: { [registrationEndpoint]: json({ client_id: 7 }) },
    right: { asked: { client_id: "7" } },
  },
  // https://github.com/czlonkowski/n8n-mcp/issues/604, https://github.com/punkpeye/fastmcp/pull/358
  {
    server: "wants a token, publishes nothing, and has no logins: API keys alone",
    answers: { [serverUrl]: challenging("Bearer"), [resourcePlace]: 404 },
    right: { error: nothingPublished },
  },
  // https://github.com/tuannvm/oauth-mcp-proxy/issues/8
  {
    server: "wants a token for its metadata and for its registration, too",
    answers: {
      [serverUrl]: challenging("Bearer"),
      [resourcePlace]: 401,
      [`${root}/.well-known/oauth-protected-resource`]: 401,
      [`${root}/.well-known/oauth-authorization-server`]: 401,
      [`${root}/register`]: json({ error: { message: "Unauthorized" } }, 401),
    },
    right: { error: nothingPublished },
  },
  // https://github.com/modelcontextprotocol/rust-sdk/issues/1047
  {
    server: "has metadata at its origin alone, which name endpoints and no issuer",
    answers: {
      [serverUrl]: challenging("Bearer"),
      [resourcePlace]: 404,
      [`${root}/.well-known/oauth-authorization-server`]: {
        authorization_endpoint: `${root}/auth/authorize`,
        token_endpoint: `${root}/auth/token`,
        registration_endpoint: `${root}/auth/register`,
      },
      [`${root}/auth/register`]: json({ client_id: "client-1" }, 201),
      [`${root}/auth/token`]: json(first),
    },
    right: { tokenRequests: 0 },
  },
  // https://github.com/home-assistant/core/issues/181505
  {
    server: "has metadata with relative endpoints and no issuer, at an address that it was not configured for (Home Assistant)",
    answers: {
      [serverUrl]: challenging("Bearer"),
      [resourcePlace]: 404,
      [`${root}/.well-known/oauth-authorization-server`]: { authorization_endpoint: "/auth/authorize", token_endpoint: "/auth/token" },
    },
    options: { clientId: "app" },
    right: { error: { code: "discovery_failed", party: "authorization-server", message: /endpoint` is not usable/ } },
  },
  // https://github.com/LibreChat-AI/librechat.ai/issues/420, https://github.com/modelcontextprotocol/typescript-sdk/issues/1120
  { server: "says the lifetime as text", tokens: [json({ ...first, expires_in: "1000" })] },
  // https://github.com/QwenLM/qwen-code/issues/5355
  {
    server: "answers form-encoded, with a lifetime of 0: the token is used until it is refused",
    tokens: [text("access_token=access-1&token_type=Bearer&expires_in=0", { type: "application/x-www-form-urlencoded" })],
    right: { tokenRequests: 1 },
  },
  // https://github.com/knowsuchagency/mcp2cli/issues/58, https://github.com/modelcontextprotocol/rust-sdk/issues/921
  {
    server: "gives a refresh token with the login alone",
    tokens: [json(first), json({ access_token: "access-2", token_type: "Bearer", expires_in: 1000 })],
  },
  // https://github.com/PrefectHQ/fastmcp/pull/2800
  {
    server: "says by 401 that the refresh token is over",
    tokens: [json(first), json({ error: "invalid_grant" }, 401), json(first)],
    right: { windows: 2, tokenRequests: 3 },
  },
  // https://github.com/LanternOps/breeze/issues/2363
  {
    server: "takes the resource for a login, and refuses it for a refresh",
    tokens: [json(first), json({ error: "invalid_target" }, 400), json(first)],
    right: { windows: 2, tokenRequests: 3 },
  },
  // https://github.com/modelcontextprotocol/python-sdk/issues/3256
  {
    server: "gives out secrets that expire before the login does",
    answers: {
      [registrationEndpoint]: () =>
        HttpResponse.json({
          client_id: "client-1",
          client_secret: "secret",
          client_secret_expires_at: Math.floor(Date.now() / 1000) + 500,
        }),
    },
    // Basic, and Basic with the ID in the body.
    tokens: [
      json(first),
      json({ error: "invalid_client", error_description: "Client secret has expired" }, 401),
      json({ error: "invalid_client", error_description: "Client secret has expired" }, 401),
      json(first),
    ],
    right: { windows: 2, tokenRequests: 4 },
  },
  // https://github.com/NousResearch/hermes-agent/issues/109852
  {
    server: "refuses a registered client for once: the login is replaced as a whole, and nothing is sent that the new client may not use",
    tokens: [json(first), json({ error: "invalid_client" }, 401), json({ ...first, access_token: "access-2" }), json(first)],
    right: { windows: 2, tokenRequests: 3 },
  },
  // https://github.com/IBM/mcp-context-forge/pull/4594
  { server: "lists the granted scopes in an array", tokens: [json({ ...first, scope: ["a", "b"] })] },
];

test.each(reports)("a server that $server", async (report) => {
  const { error, asked = {}, windows = error ? 0 : 1, tokenRequests = error ? 0 : 2 } = report.right ?? {};
  const seen = await replay(report);
  if (error) {
    const { message = /./, hint = /./, ...named } = error;
    expect(seen.login).toMatchObject({ ...named, message: expect.stringMatching(message), hint: expect.stringMatching(hint) });
  } else {
    expect(seen.login).toBe("authorized");
    expect(seen.calls).toEqual([200, 200]);
    expect(seen.asked).toMatchObject(asked);
  }
  expect([seen.windows, seen.tokenRequests]).toEqual([windows, tokenRequests]);
});

// https://github.com/higgsfield-ai/cli/issues/68, and Namecheap in https://github.com/openai/codex/issues/38944
test("a server that passes on the `iss` of the identity provider behind it: refused, but for the pair of names that the app allows", async () => {
  const behind = "https://login.example";
  const logIn = async (options: Partial<TokenManagerOptions>) => {
    protectedWorld(net);
    const { auth, events } = manager({ loginHandler: answering({ code: "the-authorization-code", iss: behind }), ...options });
    return { login: await auth.authorize().catch(({ code }: McpAuthError) => code), events };
  };
  expect((await logIn({})).login).toBe("issuer_mismatch");
  expect((await logIn({ issuerAlias: { expected: issuer, found: "https://other.example" } })).login).toBe("issuer_mismatch");
  const { login, events } = await logIn({ issuerAlias: { expected: issuer, found: behind } });
  expect(login).toBe("authorized");
  expect(events).toContainEqual(expect.objectContaining({ concession: "issuer-alias", issuer, detail: behind }));
});

test.each<[string, Record<string, string>]>([
  // https://github.com/anomalyco/opencode/issues/28811
  ["no scope was asked for (Okta)", { error: "invalid_scope", error_description: "No scopes were requested" }],
  // https://github.com/github/copilot-cli/issues/4582
  [
    "no scope was asked for (Entra ID)",
    { error: "invalid_request", error_description: "AADSTS900144: … the following parameter: 'scope'." },
  ],
  // https://github.com/anthropics/claude-code/issues/41610
  ["the client may not have one", { error: "invalid_scope", error_description: "… not allowed to request scope 'offline_access'." }],
])("a server that refuses the login because %s: the hint names the options for scopes", async (_reason, answer) => {
  protectedWorld(net);
  const { auth } = manager({ loginHandler: answering(answer) });
  const error = await auth.authorize().catch((reason: McpAuthError) => reason);
  expect(error).toMatchObject({
    code: "authorization_error",
    serverError: answer.error,
    hint: expect.stringMatching(/`scopes`.*`authorizationParameters/),
  });
});

// https://github.com/heygen-com/hyperframes/pull/2836; 403 is Auth0's, 428 and `verification_url` are Google's
test("a server that tells by 403, 428 and a bare 429 that the user has not entered the code yet is asked again, more slowly", async () => {
  const grantType = "urn:ietf:params:oauth:grant-type:device_code";
  const server = protectedWorld(net);
  net.serve({
    [`${issuer}/.well-known/oauth-authorization-server`]: {
      issuer,
      token_endpoint: tokenEndpoint,
      authorization_endpoint: `${issuer}/authorize`,
      registration_endpoint: registrationEndpoint,
      device_authorization_endpoint: `${issuer}/device`,
      grant_types_supported: [grantType],
      code_challenge_methods_supported: ["S256"],
    },
    [`${issuer}/device`]: json({
      device_code: "device",
      user_code: "ABCD",
      verification_url: `${issuer}/enter`,
      expires_in: "600",
      interval: "5",
    }),
  });
  const pending = { error: "authorization_pending" };
  server.answerTokens(json(pending, 403), json(pending, 428), text("Too many requests", { status: 429 }), json(first));
  const { auth, clock } = manager({ onDeviceCode: () => {} });
  expect(await auth.authorize()).toBe("authorized");
  expect(clock.slept).toEqual([5000, 5000, 5000, 10_000]);
});

// https://github.com/punkpeye/mcp-proxy/issues/108
describe("a server that answers 401 within a session that it has lost", () => {
  type Refuses = (request: { old: boolean; token: string | null; session: string | null; text: string }) => boolean;
  const postIn = (auth: TokenManager, session: string) =>
    auth.fetch(serverUrl, { method: "POST", body: "{}", headers: { "mcp-session-id": session } });

  /** Logged in and connected, when the server begins to refuse; `old` tokens are those of the first login. */
  async function connected(refuses: Refuses) {
    const server = protectedWorld(net);
    let issued = 0;
    server.answerTokens(() => HttpResponse.json({ ...first, access_token: `access-${++issued}`, refresh_token: `refresh-${issued}` }));
    server.accept("access-1");
    const loginHandler = stubUser();
    const { auth, clock } = manager({ loginHandler });
    await auth.authorize();
    expect((await postIn(auth, "kept")).status).toBe(200);
    clock.time += 1000;
    net.serve({
      [serverUrl]: async (request) => {
        const [token, session] = ["authorization", "mcp-session-id"].map((name) => request.headers.get(name)) as [string, string];
        const old = token === "Bearer access-1" || token === "Bearer access-2";
        const isRefused = refuses({ old, token, session, text: await request.text() });
        return new HttpResponse(null, { status: isRefused ? 401 : 200, headers: { "www-authenticate": 'Bearer error="invalid_token"' } });
      },
    });
    return { auth, opened: () => loginHandler.asked.length, tokenRequests: server.tokenRequests };
  }

  test("nobody is asked to log in: the answer is the server's, and `lastError` says that it has lost the session", async () => {
    const { auth, opened, tokenRequests } = await connected(({ token, session }) => token === null || session === "lost");
    for (let times = 0; times < 3; times++) {
      expect((await postIn(auth, "lost")).status).toBe(401);
      expect(auth.lastError).toMatchObject({ code: "token_refused", party: "server", hint: expect.stringContaining("Connect anew") });
    }
    expect([(await postIn(auth, "new")).status, (await call(auth)).status]).toEqual([200, 200]);
    expect([opened(), tokenRequests.length]).toEqual([1, 2]);
  });

  test.each<[string, Refuses]>([
    ["the token is refused outside of the session, too", ({ old, token }) => old || token === null],
    ["anybody is let in outside of a session", ({ old, session }) => old && session !== null],
    ["the session is there, and only some calls are refused", ({ old, token, text }) => token === null || (old && text === "{}")],
  ])("but a login helps where %s", async (_, refuses) => {
    const { auth, opened } = await connected(refuses);
    expect((await postIn(auth, "kept")).status).toBe(200);
    expect(opened()).toBe(2);
  });
});

// https://github.com/Waishnav/devspace/issues/295, https://github.com/punkpeye/awesome-remote-mcp-servers/pull/59
test.each([
  ["registration", "registration_refused", (page: Answer): Report => ({ server: "", answers: { [registrationEndpoint]: page } })],
  ["token request", "token_request_refused", (page: Answer): Report => ({ server: "", tokens: [page] })],
] as const)("a firewall's page in place of an answer to the %s: it is named, and who can help", async (_what, code, stage) => {
  const page = text("<title>Just a moment...</title>", { status: 403, type: "text/html", headers: { "cf-mitigated": "challenge" } });
  const { login } = await replay(stage(page));
  expect(login).toMatchObject({ code, message: expect.stringContaining("firewall"), hint: expect.stringContaining("another network") });
});

// https://github.com/mnfst/llm-gateway/issues/2927
test("a refusal of the registration in words of its own is passed on, too", async () => {
  const { login } = await replay({
    server: "",
    answers: { [registrationEndpoint]: json({ statusCode: 401, message: "Unauthorized" }, 401) },
  });
  expect(login).toMatchObject({ code: "registration_refused", status: 401, serverDescription: "Unauthorized" });
});

// https://github.com/wso2/api-platform/issues/2751
test("a gateway that says `invalid_token` by 403 where the token lacks a scope: the user is asked for that scope", async () => {
  const server = protectedWorld(net);
  let granted = "read";
  server.answerTokens(() => HttpResponse.json({ ...first, access_token: `may-${granted.replace(" ", "-")}`, scope: granted }));
  net.serve({
    [serverUrl]: ({ headers }) => {
      const token = headers.get("authorization");
      const [status, challenge] = token ? [403, 'Bearer error="invalid_token", scope="write"'] : [401, 'Bearer scope="read"'];
      if (token?.endsWith("write")) return HttpResponse.json({ ok: true });
      granted = token ? "read write" : "read";
      return new HttpResponse(null, { status, headers: { "www-authenticate": challenge } });
    },
  });
  const loginHandler = stubUser();
  const { auth } = manager({ loginHandler });
  await auth.authorize();
  expect((await call(auth)).status).toBe(200);
  expect(loginHandler.asked.map(({ searchParams }) => searchParams.get("scope"))).toEqual(["read", "read write"]);
});

// https://github.com/redhat-data-and-ai/template-agent/issues/265
test("scopes separated by commas are granted scopes: nobody is asked for them again", async () => {
  protectedWorld(net).answerTokens(json({ ...first, scope: "chat:write,search:read" }));
  const loginHandler = stubUser();
  const { auth } = manager({ loginHandler, scopes: ["chat:write", "search:read"] });
  await auth.authorize();
  expect(await auth.authorize({ scopes: ["search:read"] })).toBe("authorized");
  expect(loginHandler.asked).toHaveLength(1);
});

test.each([
  // https://github.com/anthropics/claude-code/issues/83679
  ["an array of errors (UAA)", json([{ logref: "59ae", message: "Bad credentials" }], 401), "Bad credentials"],
  ["`detail` (FastAPI)", json({ detail: "Not authenticated" }, 401), "Not authenticated"],
  ["`message` (NestJS, AWS)", json({ statusCode: 401, message: "Unauthorized" }, 401), "Unauthorized"],
  ["an error object (Google)", json({ error: { code: 403, message: "API not enabled" } }, 403), "API not enabled"],
])("a refusal by the token endpoint in words of its own is passed on: %s", async (_form, answer, said) => {
  const { login } = await replay({ server: "", tokens: [answer] });
  expect(login).toMatchObject({ code: "token_request_refused", serverDescription: said, message: expect.stringContaining(said) });
});
