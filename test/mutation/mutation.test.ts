/** The campaign itself (`npm run mutate`): what it changes, what it takes for noticed, and what its list says. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { campaign, shuffled } from "./campaign.ts";
import { instrument } from "./mutants.ts";
import { type Reach, recordReach } from "./reach.ts";
import { createScratch } from "./scratch.ts";

/** What stands there instead, for each mutant of a function with this body. */
function changes(body: string): string[] {
  const { mutants } = instrument("a.ts", `async function f() { ${body} }`, 0, "");
  return mutants.map(({ key }) => key.replace("a.ts f: ", ""));
}

describe("what is changed", () => {
  test.each([
    ["conditions are turned round", "if (a) b = c;", ["a → !(a)", "b = c; → (nothing)"]],
    [
      "a comparison gets the other boundary, or the opposite",
      "use(a < b, a >= b, a === b)",
      ["a < b → a <= b", "a >= b → a > b", "a === b → a !== b"],
    ],
    ["and, or, else", "use(a && b, a || b, a ?? b)", ["a && b → (a) || (b)", "a || b → (a) && (b)", "a ?? b → a"]],
    ["numbers: off by one, or by a factor", "use(2, 60_000)", ["2 → 3", "60_000 → 120000"]],
    ["codes, not sentences", 'use("invalid_client", "The server is gone.")', ['"invalid_client" → "mutated"']],
    ["early exits", "if (!a) return;\nreturn b;", ["!a → !(!a)", "return; → (nothing)"]],
    ["`await`, `catch`", "const b = await a.catch(c)", ["a.catch(c) → a", "await a.catch(c) → a.catch(c)"]],
    ["sums and quotients, not texts that are put together", "use(a - b, a * b, c + ': ')", ["a - b → (a) + (b)", "a * b → (a) / (b)"]],
  ])("%s", (_rule, body, expected) => {
    expect(changes(body).filter((change) => !change.startsWith("use("))).toEqual(expected);
  });

  test("not types, names of properties and modules", () => {
    const text = 'import a from "b";\nexport type C = "d" | 1;\nexport const e: "f" = { "g-h": a, i: 2 as 2 | 3 };\n';
    expect(instrument("a.ts", text, 0, "").mutants.map(({ key }) => key)).toEqual(["a.ts (file): 2 → 3"]);
  });

  test("lines stay, and the same change twice is two mutants", () => {
    const text = "/** Says what. */\nfunction f() {\n  a();\n\n  // Again.\n  a();\n}\n";
    const { code, mutants } = instrument("a.ts", text, 7, "");
    expect(mutants).toMatchObject([
      { line: 3, key: "a.ts f: a(); → (nothing)" },
      { line: 6, key: "a.ts f: a(); → (nothing) #2" },
    ]);
    expect(code.split("\n")[5]).toBe("  { if (!__mutated(8)) a(); }");
  });
});

test("a seed decides the sample, and leaves nothing out", () => {
  expect(shuffled(100, 5)).toEqual(shuffled(100, 5));
  expect(shuffled(100, 5)).not.toEqual(shuffled(100, 6));
  expect(shuffled(100, 5).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index));
});

test("a mutant is noticed by the tests that look at what it changes, and by no others", { timeout: 400_000 }, async () => {
  const scratch = createScratch(["src/tokens/freshness.ts"]);
  const reach = await recordReach(scratch, ["test/tokens/freshness.test.ts"]);
  const find = (change: string) => scratch.mutants.findIndex(({ key }) => key.endsWith(`: ${change}`));
  const ids = [find("60_000 → 120000"), find('return "expired"; → (nothing)')];
  const noticedBy = async (by: readonly Reach[]) => {
    const found: string[] = [];
    for await (const { noticed } of campaign(scratch, by, ids, 10_000)) found.push(noticed);
    return found;
  };
  const name = "no access token is an expired one";
  const one = reach.map(({ tests, ...rest }) => ({ ...rest, tests: tests.filter((test) => test.name.endsWith(name)) }));
  expect(await noticedBy(reach)).toEqual(["test", "test"]);
  expect(await noticedBy(one)).toEqual(["no", "test"]);
});

test("each survivor is listed once, with a reason", () => {
  const listed = JSON.parse(readFileSync(new URL("survivors.json", import.meta.url), "utf8")) as { mutant: string; reason: string }[];
  expect(new Set(listed.map(({ mutant }) => mutant)).size).toBe(listed.length);
  for (const { mutant, reason } of listed) expect(reason, mutant).toMatch(/\w+ \w+/);
});
