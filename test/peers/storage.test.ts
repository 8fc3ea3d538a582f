/** What users of other clients saw go wrong, as tests named by what they saw: where their tokens were kept. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { logInByHand } from "../fixture/index.ts";
import { computer } from "../processes/support.ts";
import { minutes } from "../storm/support.ts";

test("tokens in plain files that everybody on the machine can read", async () => {
  const { as, mcp, folder, start, record } = await computer();
  const child = await start({}, "sh", "-c", 'umask 0 && exec "$@"', "sh");
  const first = await logInByHand(as, { resource: mcp.resource, scope: "mcp:read" });
  await child.setTokens({ ...first, issuer: as.issuer, resource: mcp.resource });
  as.requests.length = 0;
  expect(await child.call(1)).toEqual({ 200: 1 });
  await child.setAhead(minutes(6));
  expect(await child.call(1)).toEqual({ 200: 1 });
  expect([as.tokenRequests().length, mcp.calls("add").length]).toEqual([1, 2]);

  const secrets = [first.accessToken, first.refreshToken, (await record())?.accessToken, (await record())?.refreshToken].map(String);
  const app = join(folder, manifest.name);
  const files = readdirSync(app, { recursive: true, withFileTypes: true });
  expect(files.map(({ name }) => name)).toEqual(expect.arrayContaining(["records.sqlite", "locks", "key"]));
  for (const entry of files) {
    const path = join(entry.parentPath, entry.name);
    expect(statSync(path).mode & 0o077, path).toBe(0);
    if (!entry.isFile()) continue;
    const text = readFileSync(path, "latin1");
    for (const secret of secrets) expect(text.includes(secret), `a token in ${path}`).toBe(false);
  }
  expect(statSync(app).mode & 0o777).toBe(0o700);
});
