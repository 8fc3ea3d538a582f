/** Difficult servers and real processes: a login that one has made, others use, and refresh once. */
import { expect, test } from "vitest";
import type { TraitName } from "../fixture/index.ts";
import { computer } from "../processes/support.ts";
import { manager, userAtHand } from "../storm/support.ts";

test.each<[TraitName[]]>([
  [["none-not-listed", "scopes-must-be-registered"]],
  [["client-secret-post-only"]],
  [["refused-told-403", "no-expires-in"]],
])("%s: two processes with 25 calls each after the token was revoked, one refresh", async (traits) => {
  const { server, as, mcp, store, startAll, windows } = await computer({ traits });
  await manager(server, { store: store(), loginHandler: userAtHand() }).auth.authorize();
  mcp.revokeAll();
  const programs = await startAll(2, { aheadMs: 120_000 });
  expect(await Promise.all(programs.map((program) => program.call(25)))).toEqual([{ 200: 25 }, { 200: 25 }]);
  expect([as.tokenRequests("refresh_token").length, windows()]).toEqual([1, []]);
});
