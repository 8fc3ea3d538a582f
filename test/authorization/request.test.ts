import { describe, expect, test } from "vitest";
import { type AuthorizationRequest, buildAuthorizationUrl } from "../../src/authorization/request.ts";
import { McpAuthError } from "../../src/errors.ts";

const request: AuthorizationRequest = {
  server: { issuer: "https://as.example", authorization_endpoint: "https://as.example/authorize" },
  clientId: "client 1",
  redirectUri: "http://127.0.0.1:4711/callback",
  state: "the-state",
  codeChallenge: "the-challenge",
};
const always = {
  response_type: "code",
  client_id: "client 1",
  redirect_uri: "http://127.0.0.1:4711/callback",
  state: "the-state",
  code_challenge: "the-challenge",
  code_challenge_method: "S256",
};

function codeOf(build: () => unknown): string {
  try {
    build();
    return "built";
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    return error.code;
  }
}

describe("what an authorization request says", () => {
  test.each<[string, Partial<AuthorizationRequest>, Record<string, string>]>([
    ["REQ-AUTHZ-01 PKCE with S256, state, and no scope where none is wanted (REQ-AUTHZ-03)", {}, always],
    ["no scopes are no parameter", { scopes: [] }, always],
    ["scope", { scopes: ["mcp:read", "mcp:write"] }, { ...always, scope: "mcp:read mcp:write" }],
    [
      "REQ-AUTHZ-02 the resource, verbatim",
      { resource: "https://mcp.example/MCP/?a=1" },
      { ...always, resource: "https://mcp.example/MCP/?a=1" },
    ],
    [
      "further parameters",
      { parameters: { access_type: "offline", prompt: "consent" } },
      { ...always, access_type: "offline", prompt: "consent" },
    ],
  ])("%s", (_what, more, parameters) => {
    const url = buildAuthorizationUrl({ ...request, ...more });
    expect(url.origin + url.pathname).toBe("https://as.example/authorize");
    expect(Object.fromEntries(url.searchParams)).toEqual(parameters);
    expect(url.searchParams.size).toBe(Object.keys(parameters).length);
  });

  test("RFC 6749 §3.1: the endpoint's own query stays, and cannot smuggle in a second value", () => {
    const server = {
      issuer: "https://as.example",
      authorization_endpoint: "https://as.example/authorize?tenant=t%201&state=fixed&client_id=x",
    };
    const { searchParams } = buildAuthorizationUrl({ ...request, server });
    expect(Object.fromEntries(searchParams)).toEqual({ tenant: "t 1", ...always });
    expect(searchParams.getAll("state")).toEqual(["the-state"]);
    expect(searchParams.getAll("client_id")).toEqual(["client 1"]);
  });
});

describe("parameters that the safety of a login rests on cannot be replaced", () => {
  test.each([...Object.keys(always), "request", "request_uri"])("%s", (name) => {
    expect(codeOf(() => buildAuthorizationUrl({ ...request, parameters: { [name]: "x" } }))).toBe("invalid_option");
  });
});

test("metadata without authorization endpoint: discovery_failed", () => {
  expect(codeOf(() => buildAuthorizationUrl({ ...request, server: { issuer: "https://as.example" } }))).toBe("discovery_failed");
});
