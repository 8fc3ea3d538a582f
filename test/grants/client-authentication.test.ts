import { HttpResponse } from "msw";
import { describe, expect, test } from "vitest";
import type { ClientIdentity } from "../../src/client-auth/secret.ts";
import { refreshTokens } from "../../src/grants/refresh.ts";
import { revokeToken } from "../../src/grants/revocation.ts";
import { createHttp } from "../../src/http/http.ts";
import { failure, world } from "../discovery/support.ts";

const server = {
  issuer: "https://as.example",
  token_endpoint: "https://as.example/token",
  revocation_endpoint: "https://as.example/revoke",
};
const { serve, asked } = world();

/** What the server sees of a client. */
async function seen(client: ClientIdentity, at: "token" | "revoke" = "token") {
  let authorization: string | null = null;
  let form = new URLSearchParams();
  serve({
    [`https://as.example/${at}`]: async (request) => {
      authorization = request.headers.get("authorization");
      form = new URLSearchParams(await request.text());
      return HttpResponse.json({ access_token: "a", token_type: "Bearer" });
    },
  });
  const request = { server, client, http: createHttp() };
  if (at === "token") await refreshTokens({ ...request, refreshToken: "r" });
  else expect(await revokeToken("r", "refresh_token", request)).toBe(true);
  const { client_id, client_secret, ...rest } = Object.fromEntries(form);
  return { authorization, inBody: { client_id, client_secret }, rest };
}

/** As RFC 6749 §2.3.1 has it: both parts form-encoded, then joined and encoded by Basic. Read back as a server does. */
function readBasic(header: string | null): [user: string, password: string] {
  const pair = Buffer.from(/^Basic ([A-Za-z0-9+/]+=*)$/.exec(header ?? "")?.[1] ?? "", "base64").toString("latin1");
  // ASCII only, one colon: whatever comes from the secret is escaped.
  expect(pair).toMatch(/^[\x21-\x39\x3b-\x7e]*:[\x21-\x39\x3b-\x7e]*$/);
  const decode = (part: string) => new URLSearchParams(`v=${part}`).get("v") ?? "";
  const [user = "", password = ""] = pair.split(":");
  return [decode(user), decode(password)];
}

const values = [
  ["letters", "client", "secret"],
  ["a colon", "client:1", "se:cret"],
  ["a plus sign", "a+b", "c+d"],
  ["a percent sign", "50%", "%41%"],
  ["a space", "my client", "my secret"],
  ["characters of URLs", "https://app.example/client?x=1&y=2", "a=b&c=d#e"],
  ["unreserved marks", "a-b_c.d~e", "!*'()"],
  ["characters beyond ASCII", "clïent", "пароль 🔑"],
  ["the end of base64", "a", "b=="],
] as const;

describe("RFC 6749 §2.3.1 client_secret_basic", () => {
  test.each(values)("%s in client ID and secret arrive as they are", async (_what, clientId, clientSecret) => {
    const { authorization, inBody } = await seen({ clientId, clientSecret, tokenEndpointAuthMethod: "client_secret_basic" });
    expect(readBasic(authorization)).toEqual([clientId, clientSecret]);
    expect(inBody).toEqual({});
  });

  test("also where a token is revoked (RFC 7009 §2.1)", async () => {
    const client = { clientId: "c:1", clientSecret: "s+1", tokenEndpointAuthMethod: "client_secret_basic" } as const;
    const { authorization, rest } = await seen(client, "revoke");
    expect(readBasic(authorization)).toEqual(["c:1", "s+1"]);
    expect(rest).toEqual({ token: "r", token_type_hint: "refresh_token" });
  });
});

describe("RFC 6749 §2.3.1 client_secret_post", () => {
  test.each(values)("%s in client ID and secret arrive as they are", async (_what, clientId, clientSecret) => {
    const { authorization, inBody } = await seen({ clientId, clientSecret, tokenEndpointAuthMethod: "client_secret_post" });
    expect(inBody).toEqual({ client_id: clientId, client_secret: clientSecret });
    expect(authorization).toBeNull();
  });
});

describe("none", () => {
  test("only the client ID is sent, even where there is a secret", async () => {
    const { authorization, inBody } = await seen({ clientId: "c+1", clientSecret: "s", tokenEndpointAuthMethod: "none" });
    expect(inBody).toEqual({ client_id: "c+1" });
    expect(authorization).toBeNull();
  });
});

test.each(["client_secret_basic", "client_secret_post"] as const)(
  "%s without a secret: invalid_option, nothing is sent",
  async (method) => {
    const client = { clientId: "c", tokenEndpointAuthMethod: method };
    expect(await failure(refreshTokens({ server, client, http: createHttp(), refreshToken: "r" }))).toMatchObject({
      code: "invalid_option",
    });
    expect(asked).toEqual([]);
  },
);

describe("RFC 7009 revocation is best effort", () => {
  const client = { clientId: "c", tokenEndpointAuthMethod: "none" } as const;
  test.each([
    ["200", 200, true],
    ["503", 503, false],
    ["400", 400, false],
    ["a redirect", () => new HttpResponse(null, { status: 302, headers: { location: "https://evil.example" } }), false],
    ["no connection", "unreachable", false],
  ] as const)("%s", async (_what, answer, revoked) => {
    serve({ "https://as.example/revoke": answer });
    expect(await revokeToken("t", "access_token", { server, client, http: createHttp() })).toBe(revoked);
  });

  test("no endpoint: nothing is sent", async () => {
    const { revocation_endpoint: _, ...without } = server;
    expect(await revokeToken("t", "access_token", { server: without, client, http: createHttp() })).toBe(false);
    expect(asked).toEqual([]);
  });
});
