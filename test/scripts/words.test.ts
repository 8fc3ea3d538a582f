/** Words that docs/glossary.md replaces by others are not in the source, its docs and the README. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

/** Each with what is written instead. */
const unused: readonly [RegExp, string][] = [
  [/\b(told|stranger's?)\b/i, "a verb with its subject; untrusted"],
  [/\b(proofs?|proves?)\b/i, "credential, assertion, to authenticate"],
  [/\b(person|persons|person's)\b/i, "user"],
  [/\bpace\b/i, "backoff, pause"],
  [/\b(Turn|Bring|Taken)\b/, "LockedLogin, ShowUrl, outcome"],
  [/\bno (URL|PEM|JWT|JWK|JSON)\b(?! (with|without|in)\b)/, "not a valid URL, not a PEM"],
  [/\b(fault|failure)s? that (may )?pass(es)?\b|\bwhat passes\b/, "transient fault"],
  [/\btoken answers?\b/i, "token response"],
];

/** Lines of a text that hold an unused word. */
function found(path: string, text: string): string[] {
  return text
    .split("\n")
    .flatMap((line, index) =>
      unused.filter(([word]) => word.test(line)).map(([, instead]) => `${path}:${index + 1} (${instead}): ${line.trim()}`),
    );
}

test.each([
  ["/** Told about events. */", 1],
  ["it is no URL", 1],
  ["export type Taken = string;", 1],
  ["the port is taken; it is your turn; bring it", 0],
  ["there is no JSON in it", 0],
  ["a personal token", 0],
])("%s: %i", (line, count) => expect(found("x", line)).toHaveLength(count));

test("nobody writes them", () => {
  const files = [
    ...globSync("src/**/*.ts", { cwd: root }),
    "README.md",
    "docs/credentials.md",
    "docs/machines.md",
    "docs/redis.md",
    "SECURITY.md",
  ];
  expect(files.length).toBeGreaterThan(100);
  expect(files.flatMap((path) => found(path, readFileSync(join(root, path), "utf8")))).toEqual([]);
});
