/** What a stored login says, and what is left of it after an answer or a refusal. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../src/stores/memory.ts";
import { afterRefresh, fromAnswer, readTokens, sameTokens, type TokenRecord, without } from "../../src/tokens/token-record.ts";

const client = { clientId: "c" } as TokenRecord["client"];
const record: TokenRecord = {
  v: 1,
  issuer: "https://as.example",
  resource: "https://mcp.example/mcp",
  client,
  accessToken: "a",
  refreshToken: "r",
  requestedScopes: ["x"],
  issuedAt: 1000,
  expiresAt: 5000,
  refreshStartedAt: 2000,
};

describe("reading", () => {
  test("what is whole", async () => {
    const store = new MemoryStore();
    await store.set("k", { ...record });
    expect(await readTokens(store, "k")).toEqual(record);
    expect(await readTokens(store, "nothing")).toBeUndefined();
  });

  test.each<[what: string, parts: object]>([
    ["a version that is newer", { v: 2 }],
    ["no issuer", { issuer: undefined }],
    ["no resource", { resource: undefined }],
    ["no client", { client: undefined }],
    ["a client without ID", { client: {} }],
    ["no time of issue", { issuedAt: undefined }],
    ["a time that is no number", { issuedAt: "1000" }],
  ])("%s: `invalid_record`", async (_what, parts) => {
    const store = new MemoryStore();
    await store.set("k", { ...record, ...parts });
    await expect(readTokens(store, "k")).rejects.toMatchObject({ code: "invalid_record" });
  });
});

test.each<[what: string, other: Partial<TokenRecord> | undefined, same: boolean]>([
  ["the same tokens, with other facts", { issuedAt: 9, scope: "y" }, true],
  ["another access token", { accessToken: "b" }, false],
  ["another refresh token", { refreshToken: "s" }, false],
  ["another issuer", { issuer: "https://b.example" }, false],
  ["none", undefined, false],
])("whether tokens are the same: %s", (_what, other, same) => {
  const with_ = other && { ...record, ...other };
  expect([sameTokens(record, with_), sameTokens(with_, record)]).toEqual([same, same]);
});

describe("what an answer brings", () => {
  test("an access token with a lifetime", () => {
    expect(fromAnswer({ accessToken: "b", expiresIn: 60 } as never, 7000)).toEqual({ accessToken: "b", issuedAt: 7000, expiresAt: 67_000 });
  });

  test("a token whose lifetime only itself says, and one of which nobody knows it: nothing of the old lifetime is left", () => {
    const jwt = `e30.${Buffer.from('{"iat":1,"exp":61}').toString("base64url")}.`;
    const assumed = afterRefresh(record, { accessToken: jwt } as never, 7000);
    expect(assumed).toMatchObject({ expiresAt: 67_000, expiryIsAssumed: true });
    const { expiresAt, expiryIsAssumed } = afterRefresh(assumed, { accessToken: "b" } as never, 8000);
    expect([expiresAt, expiryIsAssumed]).toEqual([undefined, undefined]);
  });

  test("a refresh token alone: the access token is not newer", () => {
    expect(fromAnswer({ refreshToken: "s", expiresIn: 60 } as never, 7000)).toEqual({ refreshToken: "s" });
  });

  test("after a refresh: what it leaves out stays, not the lifetime of the old access token", () => {
    const { refreshStartedAt: _, expiresAt: __, ...kept } = record;
    expect(afterRefresh(record, { accessToken: "b" } as never, 7000)).toEqual({ ...kept, accessToken: "b", issuedAt: 7000 });
    expect(afterRefresh(record, { refreshToken: "s" } as never, 7000)).toEqual({ ...kept, refreshToken: "s", expiresAt: 5000 });
  });
});

test("what is left without what was refused: nothing, when no token is", () => {
  const { refreshStartedAt: _, accessToken: __, ...refreshable } = record;
  expect(without(record, ["accessToken"])).toEqual(refreshable);
  expect(without(record, ["refreshToken"])).toMatchObject({ accessToken: "a" });
  expect(without(record, ["accessToken", "refreshToken"])).toBeUndefined();
});
