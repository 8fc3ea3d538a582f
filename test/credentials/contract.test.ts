/** What the contract of credentials promises: values count, not objects. */
import { describe, expect, test } from "vitest";
import type { Credential, CredentialRequest } from "../../src/credential.ts";
import { ApiKeyCredential, BearerCredential, SessionCookieCredential } from "../../src/credentials/index.ts";
import { authFetch } from "../../src/transports/fetch.ts";

const serverUrl = "https://mcp.example/mcp";

/** Gives the credential new objects with each call, and hands on copies of what it returns. */
function withFreshObjects(credential: Credential): Credential {
  const copy = (request: CredentialRequest) => ({ ...request, refused: request.refused?.map((used) => ({ ...used })) });
  return {
    headers: async (request) => ({ ...(await credential.headers(copy(request))) }),
    onChallenge: (challenge, used, request) => credential.onChallenge({ ...challenge }, { ...used }, copy(request)),
    isChallenge: (response, used) => credential.isChallenge?.(response, { ...used }) ?? false,
    onResponse: (response, used) => credential.onResponse?.(response, { ...used }),
    ...(credential.send && { send: credential.send }),
  };
}

/** A server that takes some secrets, and logs all that it is shown. */
function server(good: readonly string[]) {
  const shown: string[] = [];
  let logins = 0;
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (String(input).endsWith("/login")) {
      return new Response(null, { headers: { "set-cookie": `session=s${++logins}; Path=/` } });
    }
    const headers = new Headers(init?.headers);
    const secret = headers.get("x-api-key") ?? headers.get("authorization") ?? headers.get("cookie") ?? "none";
    shown.push(secret);
    return new Response(null, { status: good.includes(secret) ? 200 : 401 });
  };
  return { fetch, shown };
}

let fetched = 0;
const cases: [what: string, good: string[], create: (fetch: typeof globalThis.fetch) => Credential, shown: string[], status: number][] = [
  ["a second key helps", ["b"], (fetch) => new ApiKeyCredential({ serverUrl, keys: ["a", "b"], fetch }), ["a", "b"], 200],
  ["no key helps: each is tried once", [], (fetch) => new ApiKeyCredential({ serverUrl, keys: ["a", "b"], fetch }), ["a", "b"], 401],
  [
    "a token that is fetched anew helps",
    ["Bearer t2"],
    (fetch) => new BearerCredential({ serverUrl, token: () => `t${++fetched}`, fetch }),
    ["Bearer t1", "Bearer t2"],
    200,
  ],
  [
    "no token helps: it is fetched anew once",
    [],
    (fetch) => new BearerCredential({ serverUrl, token: () => `t${++fetched}`, fetch }),
    ["Bearer t1", "Bearer t2"],
    401,
  ],
  [
    "a new session helps",
    ["session=s2"],
    (fetch) => new SessionCookieCredential({ serverUrl, login: { url: "https://mcp.example/login", body: {} }, fetch }),
    ["session=s1", "session=s2"],
    200,
  ],
  [
    "no session helps: one is begun anew once",
    [],
    (fetch) => new SessionCookieCredential({ serverUrl, login: { url: "https://mcp.example/login", body: {} }, fetch }),
    ["session=s1", "session=s2"],
    401,
  ],
];

describe.each([
  ["the same objects", (credential: Credential) => credential],
  ["fresh objects", withFreshObjects],
])("%s", (_objects, wrapped) => {
  test.each(cases)("%s", async (_what, good, create, expected, status) => {
    fetched = 0;
    const { fetch, shown } = server(good);
    const send = authFetch(wrapped(create(fetch)), serverUrl, { fetch });
    expect((await send(serverUrl, { method: "POST", body: "{}" })).status).toBe(status);
    expect(shown).toEqual(expected);
  });
});

test("a credential is told what was refused before, oldest first", async () => {
  const told: (CredentialRequest["refused"] | "none")[] = [];
  let tries = 0;
  const credential: Credential = {
    headers: async ({ refused }) => {
      told.push(refused ?? "none");
      return { "x-try": String(++tries) };
    },
    onChallenge: async (_challenge, used, { refused }) => {
      told.push([...(refused ?? []), used]);
      return tries < 3 ? "retry" : "give-up";
    },
  };
  const send = authFetch(credential, serverUrl, { fetch: async () => new Response(null, { status: 401 }) });
  await send(serverUrl, { method: "POST", body: "{}" });
  const [one, two, three] = ["1", "2", "3"].map((value) => ({ "x-try": value }));
  expect(told).toEqual(["none", [one], [one], [one, two], [one, two], [one, two, three]]);
});
