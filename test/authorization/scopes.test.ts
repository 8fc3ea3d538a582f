import { describe, expect, test } from "vitest";
import { type ScopeSources, selectScopes, splitScope } from "../../src/authorization/scopes.ts";

describe("which scopes are asked for", () => {
  test.each<[string, ScopeSources, string[]]>([
    ["REQ-AUTHZ-03 1. the challenge's, not what the resource lists", { challenged: "a b", supported: ["a", "b", "c"] }, ["a", "b"]],
    ["REQ-AUTHZ-03 the challenge need not be among those listed", { challenged: "x", supported: ["a"] }, ["x"]],
    ["REQ-AUTHZ-03 2. all that the resource lists", { supported: ["a", "b"] }, ["a", "b"]],
    ["REQ-AUTHZ-03 an empty challenge is none", { challenged: " ", supported: ["a"] }, ["a"]],
    ["REQ-AUTHZ-03 3. none", {}, []],
    ["nothing listed, nothing asked", { supported: [] }, []],
    ["REQ-SEC-03 the app's wish replaces what the resource lists", { wished: ["a"], supported: ["a", "b"] }, ["a"]],
    ["the app's wish is added to the challenge", { challenged: "a", wished: ["b", "a"] }, ["a", "b"]],
    ["REQ-STEP-02 union of all asked before and the challenge", { askedBefore: ["a", "b"], challenged: "c a" }, ["a", "b", "c"]],
    [
      "REQ-STEP-02 a broader scope does not remove a narrower one",
      { askedBefore: ["files:read"], challenged: "files" },
      ["files:read", "files"],
    ],
    [
      "REQ-AUTHZ-04 offline_access where the server lists it",
      { challenged: "a", serverSupported: ["a", "offline_access"] },
      ["a", "offline_access"],
    ],
    ["REQ-AUTHZ-04 not where only the resource could have named it", { challenged: "a", serverSupported: ["a"] }, ["a"]],
    ["REQ-AUTHZ-04 not where the server lists nothing", { challenged: "a" }, ["a"]],
    ["offline_access alone would replace the server's default scopes", { serverSupported: ["offline_access"] }, []],
    ["offline_access is asked for once", { challenged: "offline_access", serverSupported: ["offline_access"] }, ["offline_access"]],
    ["no scope twice", { challenged: "a a", askedBefore: ["a"] }, ["a"]],
  ])("%s", (_what, sources, scopes) => {
    expect(selectScopes(sources)).toEqual(scopes);
  });
});

test.each<[string | undefined, string[]]>([
  [undefined, []],
  ["", []],
  ["  ", []],
  ["a", ["a"]],
  [" a  b ", ["a", "b"]],
])("RFC 6749 §3.3 the values of %j are %j", (scope, values) => {
  expect(splitScope(scope)).toEqual(values);
});
