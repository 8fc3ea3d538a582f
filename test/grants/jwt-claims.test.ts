import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";
import { readJwtClaims } from "../../src/grants/jwt-claims.ts";

const sign = (claims: Record<string, unknown>) => new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new Uint8Array(32).fill(1));
const part = (text: string) => Buffer.from(text).toString("base64url");

describe("RFC 7519 §4.1 what an assertion says of itself", () => {
  test.each([
    ["one audience", { aud: "https://as.example" }, { audience: ["https://as.example"] }],
    ["several audiences", { aud: ["a", "b"] }, { audience: ["a", "b"] }],
    ["an audience of a wrong type", { aud: 7 }, { audience: [] }],
    ["the rest", { iss: "i", sub: "grüße 🔑", exp: 1_800_000_000 }, { issuer: "i", subject: "grüße 🔑", expiresAt: 1_800_000_000_000 }],
    ["its times", { iat: 1_700_000_000, nbf: 1_750_000_000 }, { issuedAt: 1_700_000_000_000, notBefore: 1_750_000_000_000 }],
    ["wrong types", { iss: 1, sub: ["x"], exp: "soon", iat: null, nbf: {} }, {}],
    ["an end that no date can be", { exp: -1e20 }, {}],
    ["nothing", {}, { audience: [] }],
  ])("%s", async (_what, claims, expected) => {
    const none = { audience: [], expiresAt: undefined, issuer: undefined, subject: undefined };
    expect(readJwtClaims(await sign(claims as Record<string, unknown>))).toEqual({ ...none, ...expected });
  });

  test("an unsigned one is one, too: whether it is good enough is for its receiver", () => {
    expect(readJwtClaims(new UnsecuredJWT({ sub: "x" }).encode())?.subject).toBe("x");
  });

  test.each([
    ["empty text", ""],
    ["words", "no token at all"],
    ["two parts", `${part("{}")}.${part("{}")}`],
    ["four parts", `a.${part("{}")}.b.c`],
    ["no base64url", "a.$$$.b"],
    ["a length that base64url cannot have", "a.abcde.b"],
    ["no JSON", `a.${part("{oops")}.b`],
    ["JSON, but no object", `a.${part("[1]")}.b`],
    ["space around", ` a.${part("{}")}.b`],
  ])("%s is no JWT", (_what, jwt) => {
    expect(readJwtClaims(jwt)).toBeUndefined();
  });
});
