/** How keys of the store name a server: its query never, but one that is not the same. */
import { expect, test } from "vitest";
import { formerName, isOfQuery, nameInKeys, queryOf } from "../../src/discovery/server-name.ts";

const url = "https://mcp.example/mcp";

test.each<[rule: string, given: string, name: string]>([
  ["a URL without query is its own name", url, url],
  ["a final slash belongs to it", `${url}/`, `${url}/`],
  ["an empty query is none", `${url}?`, url],
  // Beginning of the SHA-256 of `project=a`.
  ["a query is a digest", `${url}?project=a`, `${url}?kA_N3mxjV3S2FRBi`],
])("%s", async (_rule, given, name) => {
  expect(await nameInKeys(given)).toBe(name);
});

test("queries that differ have names that differ, the order of their parameters included", async () => {
  const queries = ["a=1&b=2", "b=2&a=1", "a=1", "A=1", "a=1&", "a=1?", "?"];
  const names = await Promise.all(queries.map((query) => nameInKeys(`${url}?${query}`)));
  expect(new Set(names).size).toBe(queries.length);
  for (const name of names) expect(name).toMatch(/^https:\/\/mcp\.example\/mcp\?[\w-]{16}$/);
});

test("what a name says of its query, and what may be used under it", async () => {
  const name = await nameInKeys(`${url}?project=a`);
  expect([formerName(name), queryOf(url), formerName(name) + queryOf(name)]).toEqual([url, "", name]);
  expect([undefined, queryOf(name), "", "?other"].map((query) => isOfQuery(query, name))).toEqual([true, true, false, false]);
  expect([undefined, queryOf(name), ""].map((query) => isOfQuery(query, url))).toEqual([true, false, true]);
});
