/** Which refresh tokens a new login leaves behind, and what is readable of a stored list of them. */
import { describe, expect, test } from "vitest";
import { readSuperseded, type SupersededToken, supersededBy } from "../../src/tokens/superseded.ts";

const client = { kind: "dynamic", clientId: "c", tokenEndpointAuthMethod: "none", createdAt: 0 } as never as SupersededToken["client"];
const issued = (refreshToken: string, issuer = "https://as.example"): SupersededToken => ({ issuer, client, refreshToken });
const many = (count: number) => Array.from({ length: count }, (_, index) => issued(`r${index}`));
const names = (tokens: readonly SupersededToken[] | undefined) => tokens?.map(({ refreshToken }) => refreshToken);

describe("a new login", () => {
  const next = issued("new");

  test.each<[rule: string, previous: readonly Parameters<typeof supersededBy>[1][number][], left: string[]]>([
    ["over none: nothing", [], []],
    ["over one: its refresh token", [issued("old")], ["old"]],
    ["over one without a refresh token: nothing", [{ issuer: next.issuer, client }], []],
    ["over one that had replaced others: theirs come first", [{ ...issued("old"), superseded: many(2) }], ["r0", "r1", "old"]],
    ["over a refused one: what it had replaced", [{ issuer: next.issuer, client, superseded: many(1) }], ["r0"]],
    ["over several: in their order", [issued("a"), issued("b")], ["a", "b"]],
    ["with the same refresh token: it is in use", [issued("new")], []],
    ["with one that another server calls the same", [issued("new", "https://other.example")], ["new"]],
    [
      "over more than ten: the newest ten",
      [{ ...issued("old"), superseded: many(10) }],
      [
        ...many(10)
          .slice(1)
          .map((t) => t.refreshToken),
        "old",
      ],
    ],
  ])("%s", (_rule, previous, left) => {
    expect(names(supersededBy(next, previous))).toEqual(left);
  });
});

describe("a stored list", () => {
  test.each<[what: string, value: unknown, left: string[] | undefined]>([
    ["as it was written", many(2), ["r0", "r1"]],
    ["that is none", "r0", undefined],
    ["that is empty", [], undefined],
    ["of which nothing can be read", [null, 1, {}, { refreshToken: "r" }], undefined],
    ["of which something can", [{ ...issued("a"), issuer: 1 }, issued("b"), { ...issued("c"), client: {} }], ["b"]],
    ["with an empty token", [issued("")], undefined],
    ["longer than ours are: the newest ten", many(12), names(many(12).slice(2))],
  ])("%s", (_what, value, left) => {
    expect(names(readSuperseded(value))).toEqual(left);
  });
});
