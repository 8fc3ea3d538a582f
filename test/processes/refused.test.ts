/** Several processes whose token is refused again and again, as at a server whose tokens live shortly: nobody is asked while a refresh helps. */
import { expect, test } from "vitest";
import { computer } from "./support.ts";

test("4 processes, and what they share is refused as soon as one has it: every round is one refresh, and no window opens", async () => {
  const { as, mcp, logIn, startAll, windows, expectAlive } = await computer();
  await logIn();
  const children = await startAll(4, { interactive: true });
  for (const child of children) expect(await child.call(1)).toEqual({ 200: 1 });
  const before = as.tokenRequests("refresh_token").length;
  const rounds = 3;
  for (let round = 0; round < rounds; round++) {
    mcp.revokeAll();
    // The first refreshes; the next one shares its result, which is refused before it is used, and so on.
    for (const child of children) {
      expect(await child.call(1)).toEqual({ 200: 1 });
      await child.token();
      mcp.revokeAll();
    }
    for (const child of children) expect(await child.call(1)).toEqual({ 200: 1 });
  }
  expect(windows()).toEqual([]);
  expect(as.tokenRequests("refresh_token").length - before).toBeGreaterThan(rounds);
  await expectAlive();
});
