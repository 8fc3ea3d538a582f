/** A whole life of a login, failures included: nothing that is printed, told, thrown or shown holds a secret. */
import { inspect } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { type AuthEvent, type Clock, MemoryStore, systemClock, type TokenManager } from "../../src/index.ts";
import { createMcpAuth, type McpAuthOptions } from "../../src/node/index.ts";
import { answer, type Hook, pathEnds, person, startProtectedServer, tokenRequest, when } from "../fixture/index.ts";

/** Remembers what an authorization server hands out and is shown, as its own log cannot: answers as well. */
function collectSecrets() {
  const secrets = new Set<string>();
  const names = /^(access_token|refresh_token|id_token|code|code_verifier|client_secret|registration_access_token)$/;
  const collect = (entries: Iterable<[string, unknown]>) => {
    for (const [name, value] of entries) if (names.test(name) && typeof value === "string") secrets.add(value);
  };
  const hook: Hook = (request, response) => {
    collect(request.form);
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (basic) secrets.add(basic);
    const { end } = response;
    response.end = ((...args: unknown[]) => {
      const location = response.getHeader("location");
      if (typeof location === "string" && URL.canParse(location)) collect(new URL(location).searchParams);
      try {
        collect(Object.entries(JSON.parse(String(args[0])) as object));
      } catch {
        // No JSON, no tokens.
      }
      return Reflect.apply(end, response, args);
    }) as typeof end;
    return false;
  };
  return { secrets, hook };
}

/** A server that repeats, in its error, everything that it was sent. */
const echo =
  (status: number, error: string): Hook =>
  (request, response) => {
    const all = [decodeURIComponent(request.body), request.body, request.headers.authorization ?? ""];
    const description = [...all, ...request.form.values()].join(" | ");
    return answer(status, { error, error_description: description, error_uri: `https://as.example/?${request.body}`, request: all })(
      request,
      response,
    );
  };

test("no token, code, verifier or secret is in any event, error, line or view of a login's whole life", async () => {
  const confidential = {
    client_id: "confidential",
    client_secret: "a+secret/of:the~client=1",
    grant_types: ["authorization_code", "refresh_token"],
  };
  const server = await startProtectedServer({
    authorizationServer: {
      clients: [
        {
          ...confidential,
          application_type: "native",
          redirect_uris: ["http://127.0.0.1/callback"],
          token_endpoint_auth_method: "client_secret_basic",
        },
      ],
    },
  });
  onTestFinished(() => server.close());
  const { authorizationServer: as, mcpServer: mcp, url } = server;
  const { secrets, hook } = collectSecrets();
  secrets.add(confidential.client_secret);

  const shown: string[] = [];
  const view = (value: unknown) => {
    shown.push(inspect(value, { depth: null, showHidden: true, getters: true }), JSON.stringify(value) ?? "", String(value));
    if (value instanceof Error) shown.push(value.message, value.stack ?? "");
  };
  for (const stream of [process.stderr, process.stdout]) {
    vi.spyOn(stream, "write").mockImplementation((chunk) => {
      shown.push(String(chunk));
      return true;
    });
  }
  vi.stubEnv("MCP_AUTH_DEBUG", "1");

  let ahead = 0;
  const clock: Clock = {
    now: () => Date.now() + ahead,
    sleep: (ms, options) => systemClock.sleep(options?.background ? ms : 0, options),
  };
  const events: AuthEvent[] = [];
  const failures: string[] = [];
  const store = new MemoryStore();
  const start = (options: McpAuthOptions = {}) => {
    const auth = createMcpAuth(url, {
      interactive: true,
      store,
      clock,
      onEvent: (event) => events.push(event),
      openBrowser: async (address) => {
        // Somebody else's answer first: it is no secret of ours, but must not be repeated either.
        const wrong = new URL(address.searchParams.get("redirect_uri") ?? "");
        wrong.search = "?state=wrong&code=the-code-of-a-stranger&error_description=the-words-of-a-stranger";
        secrets.add("the-code-of-a-stranger").add("the-words-of-a-stranger");
        shown.push(await (await fetch(wrong)).text());
        shown.push((await person(address)).page);
      },
      ...options,
    });
    onTestFinished(() => auth.dispose());
    return auth;
  };
  const attempt = async (auth: TokenManager, work: () => Promise<unknown>) => {
    try {
      view(await work());
    } catch (error) {
      failures.push((error as { code?: string }).code ?? String(error));
      view(error);
    }
    view(auth);
    view(auth.lastError);
  };
  const send = (auth: TokenManager, body: object) => async () => {
    const init = { method: "POST", headers: { "content-type": "application/json", accept: "application/json, text/event-stream" } };
    const response = await auth.fetch(url, { ...init, body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...body }) });
    await response.body?.cancel();
    return response.status;
  };
  const whoami = { method: "tools/call", params: { name: "whoami", arguments: {} } };
  const writeNote = { method: "tools/call", params: { name: "write_note", arguments: { text: "x" } } };
  const once = (matches: Parameters<typeof when>[0], fault: Hook, times = 1) => as.intercept(when(matches, fault, times));
  as.intercept(hook);

  for (const client of [{}, { clientId: confidential.client_id, clientSecret: confidential.client_secret }] satisfies McpAuthOptions[]) {
    const auth = start({ ...client, account: client.clientId ?? "dynamic" });
    // Failures before there is a login.
    await attempt(auth, () => auth.getAccessToken());
    as.nextDecision = "deny";
    await attempt(auth, () => auth.authorize());
    once(tokenRequest("authorization_code"), echo(400, "invalid_grant"));
    await attempt(auth, () => auth.authorize());
    once(tokenRequest("authorization_code"), echo(500, "server_error"));
    await attempt(auth, () => auth.authorize());
    once(tokenRequest("authorization_code"), answer(200, '{"access_token":"an-access-token-cut-of'));
    await attempt(auth, () => auth.authorize());
    once(tokenRequest("authorization_code"), answer(200, { access_token: "a-token-with\na-line-break", token_type: "Bearer" }));
    secrets.add("an-access-token-cut-of").add("a-token-with").add("a-line-break");
    await attempt(auth, () => auth.authorize());
    // The login, its use, a step-up.
    await attempt(auth, () => auth.authorize());
    await attempt(auth, send(auth, whoami));
    await attempt(auth, send(auth, writeNote));
    const stored = JSON.stringify(await Promise.all((await store.keys("tokens/")).map((key) => store.get(key))));
    expect(
      [...secrets].filter((secret) => stored.includes(secret)),
      "secrets that are watched for",
    ).not.toEqual([]);
    // Refreshes: one that works, those that don't.
    ahead += 600_000;
    await attempt(auth, send(auth, whoami));
    for (const [status, error] of [
      [503, "server_error"],
      [400, "invalid_request"],
      [403, "invalid_target"],
      [401, "invalid_client"],
    ] as const) {
      ahead += 600_000;
      const stop = once(tokenRequest("refresh_token"), echo(status, error), 10);
      await attempt(auth, async () => void (await auth.getAccessToken()));
      stop();
    }
    await attempt(auth, () => auth.authorize());
    mcp.revokeAll();
    await attempt(auth, send(auth, whoami));
    as.endLogins();
    ahead += 600_000;
    await attempt(auth, async () => void (await auth.getAccessToken()));
    await attempt(auth, () => auth.setTokens({ accessToken: "a-given-access-token", refreshToken: "a-given-refresh-token" }));
    await attempt(auth, () => auth.setTokens({ accessToken: "a-given\ntoken" }));
    secrets.add("a-given-access-token").add("a-given-refresh-token").add("a-given\ntoken").add("a-given\\ntoken");
    await attempt(auth, () => auth.authorize());
    await attempt(auth, () => auth.logout());
    await auth.dispose();
    await attempt(auth, send(auth, whoami));
  }
  once(pathEnds("/register"), echo(400, "invalid_client_metadata"), 10);
  await attempt(start({ store: new MemoryStore() }), () => start({ store: new MemoryStore() }).authorize());
  for (const event of events) view(event);
  vi.restoreAllMocks();

  // The scenario has been what it says it is.
  expect(new Set(failures)).toEqual(
    new Set([
      "login_required",
      "authorization_denied",
      "invalid_grant",
      "server_error",
      "invalid_token_response",
      "invalid_client",
      "invalid_option",
      "registration_refused",
      "disposed",
    ]),
  );
  const told = new Set(events.map(({ type }) => type));
  for (const type of [
    "login.finished",
    "refresh.finished",
    "refresh.repeated",
    "refresh.failed",
    "step-up.started",
    "logout.finished",
  ] as const) {
    expect(told).toContain(type);
  }
  expect(shown.some((text) => text.startsWith("mcp-client-auth refresh.started"))).toBe(true);
  const long = [...secrets].filter((secret) => secret.length >= 8);
  expect(long.length).toBeGreaterThan(40);

  const everything = shown.join("\n");
  const forms = (secret: string) => [secret, encodeURIComponent(secret), String(new URLSearchParams({ "": secret })).slice(1)];
  expect(long.filter((secret) => forms(secret).some((form) => everything.includes(form)))).toEqual([]);
});
