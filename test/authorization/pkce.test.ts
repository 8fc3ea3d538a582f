import { expect, test } from "vitest";
import { generateCodeChallenge, generateCodeVerifier, generateState } from "../../src/authorization/pkce.ts";

test("REQ-AUTHZ-01 the S256 challenge of RFC 7636, appendix B", async () => {
  expect(await generateCodeChallenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")).toBe("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
});

test.each([
  ["REQ-AUTHZ-01 a verifier has 43 to 128 unreserved characters", generateCodeVerifier, /^[\w.~-]{43,128}$/],
  ["REQ-AUTHZ-05 a state has at least 128 random bits", generateState, /^[\w-]{22,}$/],
])("%s, and none comes twice", (_what, generate, form) => {
  const values = Array.from({ length: 1000 }, generate);
  for (const value of values) expect(value).toMatch(form);
  expect(new Set(values).size).toBe(1000);
});
