import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { checkAuthorizationResponse } from "../../src/authorization/response.ts";
import { McpAuthError } from "../../src/errors.ts";

const issuer = "https://as.example";
const pending = {
  state: "the-state",
  codeVerifier: "the-verifier-that-nobody-sees",
  issuer,
  issParameterSupported: true,
  redirectUri: "http://127.0.0.1:1/callback",
};

/** Query parameters; an array is a repeated one, `undefined` is left out. */
type Parameters = Record<string, string | string[] | undefined>;

function query(parameters: Parameters): URLSearchParams {
  const result = new URLSearchParams();
  for (const [name, values] of Object.entries(parameters)) for (const value of [values ?? []].flat()) result.append(name, value);
  return result;
}

/** `accepted` or the error. */
function check(parameters: Parameters, more: Partial<typeof pending> = {}): "accepted" | McpAuthError {
  try {
    const response = checkAuthorizationResponse(query(parameters), { ...pending, ...more });
    expect(response).toEqual({ code: "the-code" });
    return "accepted";
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    return error;
  }
}

const codeOf = (outcome: "accepted" | McpAuthError) => (outcome === "accepted" ? outcome : outcome.code);

describe("REQ-ISS-01 who sent the authorization response", () => {
  test.each<[advertised: boolean, iss: string | string[] | undefined, outcome: string]>([
    [true, "https://as.example", "accepted"],
    [true, undefined, "issuer_mismatch"],
    [true, "", "issuer_mismatch"],
    [true, "https://evil.example", "issuer_mismatch"],
    [false, "https://as.example", "accepted"],
    [false, undefined, "accepted"],
    [false, "", "issuer_mismatch"],
    [false, "https://evil.example", "issuer_mismatch"],
    [true, ["https://as.example", "https://as.example"], "invalid_authorization_response"],
    [false, ["https://as.example", "https://evil.example"], "invalid_authorization_response"],
  ])("advertised %s, iss %j: %s", (advertised, iss, outcome) => {
    expect(codeOf(check({ state: "the-state", code: "the-code", iss }, { issParameterSupported: advertised }))).toBe(outcome);
  });

  test("the same table holds for error responses", () => {
    expect(codeOf(check({ state: "the-state", error: "access_denied" }))).toBe("issuer_mismatch");
    expect(codeOf(check({ state: "the-state", error: "access_denied", iss: issuer }))).toBe("authorization_denied");
    expect(codeOf(check({ state: "the-state", error: "access_denied" }, { issParameterSupported: false }))).toBe("authorization_denied");
  });
});

describe("REQ-ISS-02 iss is compared as it stands, after form decoding", () => {
  test.each([
    ["a final slash", "https://as.example/"],
    ["upper case in the host", "https://AS.example"],
    ["upper case in the scheme", "HTTPS://as.example"],
    ["the default port", "https://as.example:443"],
    ["white space", " https://as.example"],
    ["an escaped letter", "https://as.ex%61mple"],
    ["a query", "https://as.example?"],
    ["another scheme", "http://as.example"],
  ])("%s is another issuer", (_what, iss) => {
    expect(codeOf(check({ state: "the-state", code: "the-code", iss }))).toBe("issuer_mismatch");
  });

  test("the other name that the app allows counts as well, and no third one", () => {
    const aliased = { ...pending, issuerAlias: "https://login.example" };
    const response = (iss: string) => new URLSearchParams({ state: "the-state", code: "the-code", iss });
    expect(checkAuthorizationResponse(response("https://login.example"), aliased)).toEqual({ code: "the-code" });
    expect(checkAuthorizationResponse(response(issuer), aliased)).toEqual({ code: "the-code" });
    expect(() => checkAuthorizationResponse(response("https://login.example/"), aliased)).toThrow("another authorization server");
  });

  test("what differs only by form encoding is the same", () => {
    const parameters = new URLSearchParams("state=the-state&code=the-code&iss=https%3A%2F%2Fas.example%2Fa+b%252F");
    expect(checkAuthorizationResponse(parameters, { ...pending, issuer: "https://as.example/a b%2F" })).toEqual({ code: "the-code" });
  });
});

test("REQ-ISS-03 of a response from a wrong sender nothing is believed or shown", () => {
  const texts = { error: "stranger_error", error_description: "Call 555-1234", error_uri: "https://evil.example/help" };
  const error = check({ state: "the-state", code: "the-code", iss: "https://evil.example", ...texts });
  expect(codeOf(error)).toBe("issuer_mismatch");
  const shown = inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error);
  for (const text of [...Object.values(texts), "555", "help"]) expect(shown).not.toContain(text);
});

describe("REQ-AUTHZ-05 state says whether a response is ours, before anything else is looked at", () => {
  test.each<[string, Parameters]>([
    ["another one", { state: "another", code: "the-code", iss: issuer }],
    ["none", { code: "the-code", iss: issuer }],
    ["an empty one", { state: "", code: "the-code", iss: issuer }],
    ["a repeated one", { state: ["the-state", "the-state"], code: "the-code", iss: issuer }],
    ["the right one and another", { state: ["the-state", "another"], code: "the-code", iss: issuer }],
    ["another one, from another issuer", { state: "another", code: "the-code", iss: "https://evil.example" }],
    ["another one, with an error", { state: "another", error: "access_denied", iss: issuer }],
    ["another one, and everything repeated", { state: "another", code: ["1", "2"], iss: ["1", "2"], error: ["1", "2"] }],
    ["nothing at all", {}],
  ])("%s: the response is none of ours", (_what, parameters) => {
    expect(codeOf(check(parameters))).toBe("state_mismatch");
  });
});

describe("RFC 6749 §4.1.2 what a response must hold", () => {
  test.each<[string, Parameters, string]>([
    ["a code", { code: "the-code" }, "accepted"],
    ["a code and parameters that nobody knows", { code: "the-code", session_state: "1", scope: "x" }, "accepted"],
    ["unknown parameters, repeated", { code: "the-code", hint: ["1", "2"] }, "accepted"],
    ["neither code nor error", {}, "invalid_authorization_response"],
    ["an empty code", { code: "" }, "invalid_authorization_response"],
    ["two codes", { code: ["the-code", "other"] }, "invalid_authorization_response"],
    ["the same code twice", { code: ["the-code", "the-code"] }, "invalid_authorization_response"],
    ["two errors", { error: ["access_denied", "server_error"] }, "invalid_authorization_response"],
    ["two descriptions", { error: "access_denied", error_description: ["a", "b"] }, "invalid_authorization_response"],
    ["code and error: the error counts", { code: "the-code", error: "access_denied" }, "authorization_denied"],
    ["access_denied", { error: "access_denied" }, "authorization_denied"],
    ["invalid_scope", { error: "invalid_scope" }, "authorization_error"],
    ["server_error", { error: "server_error" }, "authorization_error"],
    ["an error of the server's own", { error: "AADSTS50105" }, "authorization_error"],
    ["an error without name", { error: "" }, "authorization_error"],
  ])("%s", (_what, parameters, outcome) => {
    expect(codeOf(check({ state: "the-state", iss: issuer, ...parameters }))).toBe(outcome);
  });

  test.each<[string, Parameters, boolean]>([
    ["invalid_scope", { error: "invalid_scope" }, true],
    ["another error that speaks of scopes (Entra ID)", { error: "invalid_request", error_description: "must contain: 'scope'." }, true],
    ["another error", { error: "invalid_request", error_description: "telescope" }, false],
  ])("%s: the hint names the options for scopes: %o", (_what, parameters, named) => {
    const error = check({ state: "the-state", iss: issuer, ...parameters });
    expect(error).toMatchObject({
      code: "authorization_error",
      hint: named ? expect.stringContaining("`scopes`") : expect.not.stringContaining("scope"),
    });
  });

  test("the server's reason is told, shortened and without control characters", () => {
    const description = `line one\nline two\u001b[31m ${"x".repeat(1000)}`;
    const error = check({ state: "the-state", iss: issuer, error: "invalid_scope", error_description: description });
    if (error === "accepted") throw new Error("accepted");
    expect(error).toMatchObject({ issuer, serverError: "invalid_scope" });
    expect(error.serverDescription).toMatch(/^line one line two \[31m x+$/);
    expect(error.serverDescription?.length).toBeLessThanOrEqual(200);
    expect(JSON.stringify(error.message)).not.toMatch(/\\[nu]/);
  });
});

test("no error holds the state, the verifier or the code", () => {
  const bad: Parameters[] = [
    { state: "wrong", code: "the-code" },
    { state: "the-state", code: "the-code", iss: "https://evil.example" },
    { state: "the-state", code: ["the-code", "the-code"], iss: issuer },
    { state: "the-state", code: "the-code", error: "access_denied", iss: issuer },
    { state: "the-state", iss: issuer },
  ];
  for (const parameters of bad) {
    const shown = inspect(check(parameters), { depth: null, showHidden: true });
    for (const secret of ["the-state", "the-code", pending.codeVerifier]) expect(shown).not.toContain(secret);
  }
});
