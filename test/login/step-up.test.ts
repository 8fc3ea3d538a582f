/** What a challenge asks for, and how often a user is asked. */
import { describe, expect, test } from "vitest";
import type { Challenge } from "../../src/discovery/challenge.ts";
import { McpAuthError } from "../../src/errors.ts";
import { demandsOf, insufficiency, isLoginTooOld, StepUpMemory, wantsAuthentication } from "../../src/login/step-up.ts";

const challenge = (parts: Partial<Challenge>): Challenge => ({ status: 401, ...parts }) as Challenge;
const minute = 60_000;

describe("whether a login has aged", () => {
  test.each<[rule: string, maxAge: string | undefined, ageMs: number | undefined, expected: boolean]>([
    ["older than `max_age`", "300", 300_001, true],
    ["as old as `max_age`", "300", 300_000, false],
    ["one of a minute ago has not, whatever the server says", "0", minute, false],
    ["one of more than a minute ago has, where any age is too much", "0", minute + 1, true],
    ["no limit", undefined, 24 * 60 * minute, false],
    ["nobody knows when the user logged in", "300", undefined, false],
  ])("%s", (_rule, maxAge, ageMs, expected) => {
    const now = 1_000_000_000;
    expect(isLoginTooOld(challenge({ maxAge }), ageMs === undefined ? undefined : now - ageMs, now)).toBe(expected);
  });
});

describe("what a refusal wants", () => {
  test.each<[Partial<Challenge>, code: string | undefined, wanted: string[]]>([
    [{ error: "insufficient_scope", scope: "a b" }, "insufficient_scope", ["a", "b"]],
    [{ error: "insufficient_user_authentication", acrValues: "2fa" }, "authentication_insufficient", ["acr_values=2fa"]],
    [{ error: "insufficient_user_authentication", maxAge: "60" }, "authentication_insufficient", ["max_age=60"]],
    [{ error: "invalid_token" }, undefined, []],
  ])("%j: %s", (parts, code, wanted) => {
    const details = { serverUrl: "https://mcp.example/mcp" };
    expect([insufficiency(challenge(parts), details)?.code, demandsOf(challenge(parts))]).toEqual([code, wanted]);
    expect(wantsAuthentication(challenge(parts))).toBe(code === "authentication_insufficient");
  });
});

describe("attempts", () => {
  test("two for one cause, also at the same moment; each cause has its own", () => {
    const memory = new StepUpMemory();
    expect([1, 2, 3].map(() => memory.attempt("a", 0))).toEqual([1, 2, undefined]);
    expect(memory.attempt("b", 0)).toBe(1);
  });

  test.each([
    [10 * minute - 1, undefined],
    [10 * minute, 1],
    [-1, 1],
  ])("forgotten after ten minutes, or when the clock was put back: %i ms later", (laterMs, attempt) => {
    const memory = new StepUpMemory();
    for (let count = 0; count < 2; count++) memory.attempt("a", 0);
    expect(memory.attempt("a", laterMs)).toBe(attempt);
  });

  test("one that was undone does not count; one that sufficed is forgiven, two are not", () => {
    const memory = new StepUpMemory();
    memory.attempt("a", 0);
    memory.undo("a");
    memory.undo("unheard of");
    expect([1, 2, 3].map(() => memory.attempt("a", 0))).toEqual([1, 2, undefined]);
    memory.forgive("a");
    expect(memory.attempt("a", 0)).toBeUndefined();
    memory.attempt("b", 0);
    memory.forgive("b");
    expect(memory.attempt("b", 0)).toBe(1);
  });

  test("a server that wants something else each time is asked for 50 things", () => {
    const memory = new StepUpMemory();
    const attempts = Array.from({ length: 51 }, (_, n) => memory.attempt(`cause ${n}`, 0));
    expect(attempts).toEqual([...Array(50).fill(1), undefined]);
    // What is known already goes on.
    expect(memory.attempt("cause 0", 0)).toBe(2);
  });
});

test("what was refused is known for ten minutes, in whatever order it is asked for", () => {
  const memory = new StepUpMemory();
  const error = new McpAuthError("authorization_denied");
  memory.refuse(["b", "a"], error, 0);
  expect(memory.refusal(["a", "b"], 10 * minute - 1)).toBe(error);
  expect(memory.refusal(["a"], 0)).toBeUndefined();
  expect(memory.refusal(["a", "b"], 10 * minute)).toBeUndefined();
});
