/** What a login that others have made is taken for: one that is new, or one that was there before. */
import { expect, onTestFinished, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { LoginPrompt } from "../../src/login/prompt.ts";
import { createSession } from "../../src/login/session.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { asStored, indexKey, type TokenRecord, tokenKey } from "../../src/tokens/token-record.ts";
import { issuer, serverUrl, stubUser, TestClock } from "../answers/support.ts";

const clock = new TestClock();
const login = (parts: Partial<TokenRecord> = {}): TokenRecord => ({
  v: 1,
  issuer,
  resource: serverUrl,
  client: { kind: "dynamic", clientId: "client-1", tokenEndpointAuthMethod: "none", redirectUris: [], createdAt: 0 } as never,
  accessToken: "found",
  refreshToken: "refresh-found",
  requestedScopes: [],
  loggedInAt: 1,
  issuedAt: clock.now(),
  expiresAt: clock.now() + 1_000_000,
  ...parts,
});

test.each<[what: string, known: TokenRecord | undefined, found: Partial<TokenRecord>, origin: string]>([
  ["the login that was known, refreshed by another process: as any in the store", login({ accessToken: "known" }), {}, "store"],
  ["a later login: new, so that a refusal of its token is the end", login({ accessToken: "known" }), { loggedInAt: 2 }, "login"],
  ["one by another server at the same moment", login({ accessToken: "known", issuer: "https://other.example" }), {}, "login"],
  ["any, where none was known", undefined, {}, "login"],
])("%s", async (_what, known, found, origin) => {
  const store = new MemoryStore();
  await store.set(tokenKey("default", serverUrl), asStored(login(found)));
  await store.set(indexKey("default", serverUrl), { v: 1, resource: serverUrl });
  const session = createSession({ serverUrl, store, clock, loginHandler: stubUser() });
  onTestFinished(() => session.keeper.dispose());
  const used: unknown[] = [];
  const token = { use: (record: TokenRecord | undefined, from: string) => void used.push([record?.accessToken, from]) };
  await new LoginPrompt(session, token as never, 1000).ask({ known });
  expect(used).toEqual([["found", origin]]);
});

test("a login that fails is the last error, whoever waits for it", async () => {
  const store = new MemoryStore();
  store.withLock = () => Promise.reject(new McpAuthError("lock_timeout"));
  const session = createSession({ serverUrl, store, clock, loginHandler: stubUser() });
  onTestFinished(() => session.keeper.dispose());
  const token = { use: () => {}, loginRequired: () => new McpAuthError("login_required") };
  await new LoginPrompt(session, token as never, 1000).ask({}).catch(() => {});
  expect(session.lastError).toMatchObject({ code: "lock_timeout", serverUrl });
});
