/** What users of other clients saw go wrong, as tests named by what they saw: servers that differ from the letter. */
import { describe, expect, test } from "vitest";
import type { LoginHandler, TokenManagerOptions } from "../../src/index.ts";
import { json, manager, outcome, stubUser } from "../answers/support.ts";
import { type Answer, world } from "../discovery/support.ts";

const net = world();
const serverUrl = "https://mcp.example/mcp";

/** A protected server whose resource metadata names `listed`; the authorization server's document is found as `metadata` says. */
function serve(listed: string, metadata: Record<string, Answer>) {
  const forms: Record<string, string>[] = [];
  net.serve({
    [serverUrl]: 401,
    "https://mcp.example/.well-known/oauth-protected-resource/mcp": {
      resource: serverUrl,
      authorization_servers: [listed],
      scopes_supported: ["files:read"],
    },
    ...metadata,
  });
  return forms;
}

/** A server at its issuer, whose token endpoint tells what it was asked. */
function authorizationServer(issuer: string, forms: Record<string, string>[] = []) {
  const base = issuer.replace(/\/$/, "");
  const endpoints = {
    [`${base}/token`]: async (request: Request) => {
      forms.push(Object.fromEntries(new URLSearchParams(await request.text())));
      const answer = json({
        access_token: `access-${forms.length}`,
        token_type: "Bearer",
        expires_in: 1000,
        refresh_token: `refresh-${forms.length}`,
        id_token: `identity-${forms.length}`,
      });
      return (answer as (request: Request) => Response)(request);
    },
  };
  const document = {
    issuer,
    authorization_endpoint: `${base}/authorize`,
    token_endpoint: `${base}/token`,
    code_challenge_methods_supported: ["S256"],
  };
  return { document, endpoints };
}

/** Logs in, then refreshes once. */
async function use(options: Partial<TokenManagerOptions> = {}) {
  const loginHandler = stubUser();
  const { auth, clock, events } = manager({ serverUrl, clientId: "mine", loginHandler, ...options });
  const result = await outcome(auth.authorize());
  clock.time += 1001_000;
  const token = result === "authorized" ? await auth.getAccessToken() : undefined;
  const [asked] = loginHandler.asked;
  return { result, token, asked: asked && Object.fromEntries(asked.searchParams), opened: loginHandler.asked, events };
}

describe("Google's issuer is written with and without final slash", () => {
  const metadata = (issuer: string) => {
    const { document, endpoints } = authorizationServer(issuer);
    return { "https://accounts.google.com/.well-known/openid-configuration": document, ...endpoints };
  };

  test.each([
    ["https://accounts.google.com/", "https://accounts.google.com"],
    ["https://accounts.google.com", "https://accounts.google.com/"],
  ])("listed as %s, calls itself %s: the same, with a warning", async (listed, issuer) => {
    serve(listed, metadata(issuer));
    const { result, events } = await use();
    expect(result).toBe("authorized");
    expect(events).toContainEqual(expect.objectContaining({ concession: "issuer-final-slash", issuer, detail: listed }));
  });

  test("what gives a refresh token there is asked for", async () => {
    serve("https://accounts.google.com/", metadata("https://accounts.google.com"));
    const { asked, token } = await use();
    expect(asked).toMatchObject({ access_type: "offline", prompt: "consent" });
    expect(token).toBe("access-2");
  });

  test("who forbids the concession gets issuer_mismatch", async () => {
    serve("https://accounts.google.com/", metadata("https://accounts.google.com"));
    expect((await use({ strictIssuer: true })).result).toBe("issuer_mismatch");
  });
});

describe("metadata of a mismatching issuer is used, or no candidate is tried after it", () => {
  const good = authorizationServer("https://as.example/t1");
  const evil = { ...authorizationServer("https://evil.example").document, issuer: "https://as.example" };

  test("the next candidate is tried under the same rule", async () => {
    serve("https://as.example/t1", {
      "https://as.example/.well-known/oauth-authorization-server/t1": evil,
      "https://as.example/t1/.well-known/openid-configuration": good.document,
      ...good.endpoints,
    });
    const { result, opened } = await use();
    expect(result).toBe("authorized");
    expect(opened.map(({ origin, pathname }) => origin + pathname)).toEqual(["https://as.example/t1/authorize"]);
  });

  test("none fits: the error names the mismatch, and nobody is sent anywhere", async () => {
    serve("https://as.example/t1", { "https://as.example/.well-known/oauth-authorization-server/t1": evil });
    const { result, opened } = await use();
    expect(result).toBe("issuer_mismatch");
    expect(opened).toEqual([]);
    expect(net.asked.filter((url) => url.includes("evil.example"))).toEqual([]);
  });
});

test("Keycloak: only the appended well-known form is served", async () => {
  const issuer = "https://keycloak.example/realms/acme";
  const { document, endpoints } = authorizationServer(issuer);
  serve(issuer, { [`${issuer}/.well-known/openid-configuration`]: document, ...endpoints });
  expect((await use()).result).toBe("authorized");
});

describe("Atlassian: the origin's metadata names another issuer", () => {
  const origin = "https://mcp.example/.well-known/oauth-authorization-server";
  const own = authorizationServer("https://cf.mcp.example");
  const pointing = { ...authorizationServer("https://cf.mcp.example").document, token_endpoint: "https://evil.example/token" };
  const without: Answer = 404;

  test("that issuer's own metadata decides", async () => {
    serve("", { "https://mcp.example/.well-known/oauth-protected-resource/mcp": without, [origin]: pointing });
    net.serve({ "https://cf.mcp.example/.well-known/oauth-authorization-server": own.document, ...own.endpoints });
    const { result, events } = await use();
    expect(result).toBe("authorized");
    expect(events).toContainEqual(expect.objectContaining({ concession: "issuer-pointer", issuer: "https://cf.mcp.example" }));
    expect(net.asked.filter((url) => url.includes("evil.example"))).toEqual([]);
  });

  test("an issuer that says nothing of itself is not used", async () => {
    serve("", { "https://mcp.example/.well-known/oauth-protected-resource/mcp": without, [origin]: pointing });
    const { result, opened } = await use();
    expect(result).toBe("discovery_failed");
    expect(opened).toEqual([]);
  });
});

describe("servers with a will of their own, without any option", () => {
  async function at(issuer: string, options?: Partial<TokenManagerOptions>) {
    const forms: Record<string, string>[] = [];
    const { document, endpoints } = authorizationServer(issuer, forms);
    serve(issuer, { [`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`]: document, ...endpoints });
    return { ...(await use(options)), forms };
  }

  test("Entra ID: no `resource` anywhere, and the refresh repeats `scope`", async () => {
    const { asked, forms, token, events } = await at("https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0");
    expect(token).toBe("access-2");
    expect(asked).not.toHaveProperty("resource");
    expect(forms.map(({ grant_type, scope }) => [grant_type, scope])).toEqual([
      ["authorization_code", undefined],
      ["refresh_token", "files:read"],
    ]);
    for (const form of forms) expect(form).not.toHaveProperty("resource");
    expect(events).toContainEqual(expect.objectContaining({ concession: "profile", detail: "Microsoft Entra ID" }));
  });

  test("Auth0: the resource as `audience`, too", async () => {
    const { asked } = await at("https://acme.eu.auth0.com/");
    expect(asked).toMatchObject({ audience: serverUrl, resource: serverUrl });
  });

  test.each([
    ["Salesforce", "https://acme.my.salesforce.com", undefined, "localhost"],
    ["Datadog", "https://mcp.datadoghq.com", undefined, "127.0.0.1"],
    ["any other", "https://as.example", undefined, undefined],
    ["Salesforce, an option against it", "https://acme.my.salesforce.com", "127.0.0.1", "127.0.0.1"],
  ] as const)("%s: the loopback host that the login is asked for", async (_name, issuer, redirectHost, expected) => {
    const hosts: (string | undefined)[] = [];
    const user = stubUser();
    const loginHandler: LoginHandler = {
      start: (request) => {
        hosts.push(request.redirectHost);
        return user.start(request);
      },
    };
    expect(await at(issuer, { redirectHost, loginHandler })).toMatchObject({ result: "authorized" });
    expect(hosts).toEqual([expected]);
  });

  test("Cognito before AgentCore: the option presents the ID token, after a refresh as well", async () => {
    const { result, token } = await at("https://cognito-idp.eu-west-1.amazonaws.com/pool", { bearer: "id_token" });
    expect([result, token]).toEqual(["authorized", "identity-2"]);
    expect(await at("https://as.example")).toMatchObject({ token: "access-2" });
  });

  test("a host that only looks like one of these is treated as any other", async () => {
    const { asked, forms } = await at("https://login.microsoftonline.com.evil.example/v2.0");
    expect(asked).toMatchObject({ resource: serverUrl });
    expect(forms[1]).toMatchObject({ resource: serverUrl });
    expect(forms[1]).not.toHaveProperty("scope");
  });
});
