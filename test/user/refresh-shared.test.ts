/** Whether a refresh is sent, when the login has changed until its lock was had. */
import { expect, test } from "vitest";
import type { RefreshDemand } from "../../src/tokens/cached-token.ts";
import type { TokenRecord } from "../../src/tokens/token-record.ts";
import { refreshLogin } from "../../src/user/refresh.ts";
import { issuer, TestClock } from "../answers/support.ts";

const clock = new TestClock();
const ttlMs = 600_000;
const login = (accessToken: string, ageMs: number, changes: Partial<TokenRecord> = {}) =>
  ({
    issuer,
    accessToken,
    refreshToken: `refresh-${accessToken}`,
    issuedAt: clock.time - ageMs,
    expiresAt: clock.time - ageMs + ttlMs,
    ...changes,
  }) as TokenRecord;

test.each<[rule: string, current: TokenRecord | undefined, reason: RefreshDemand["reason"], isSent: boolean]>([
  ["nobody has changed it: sent", login("known", ttlMs), "expired", true],
  ["it is gone: not sent", undefined, "expired", false],
  ["another process has refreshed it: not sent", login("newer", 0), "expired", false],
  ["… ahead of its leeway", login("newer", ttlMs - 60_001), "expired", false],
  ["… long ago, the token is in its leeway again: sent", login("newer", ttlMs - 60_000), "expired", true],
  ["… and it has expired again: sent", login("newer", ttlMs), "expired", true],
  ["the refused access token is still there: sent", login("known", 0, { refreshToken: "newer" }), "refused", true],
  ["… and is another one: not sent", login("newer", 0), "refused", false],
  ["… and nobody has refused it: not sent", login("known", 0, { refreshToken: "newer" }), "ahead", false],
  [
    "a login of another issuer, however old, is for its own refresh",
    login("newer", ttlMs, { issuer: "https://other.example" }),
    "expired",
    false,
  ],
  ["there is nothing to send", login("newer", ttlMs, { refreshToken: undefined }), "expired", false],
])("%s", async (_rule, current, reason, isSent) => {
  let marked = 0;
  const held = {
    current,
    markRefresh: async () => {
      marked++;
      throw new Error("the disk is full");
    },
  };
  const session = {
    clock,
    emit: () => {},
    options: {},
    keeper: { locked: (_resource: string, action: (held: never) => unknown) => action(held as never) },
  };
  const outcome = await refreshLogin(session as never, login("known", ttlMs), { reason }).catch(() => "sent");
  expect([outcome, marked]).toEqual(isSent ? ["sent", 1] : [{ record: current, isShared: true }, 0]);
});
