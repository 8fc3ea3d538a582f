/** How long an access token is used, as a table. */
import { describe, expect, test } from "vitest";
import { aheadAt, freshness } from "../../src/tokens/freshness.ts";

const minute = 60;
const hour = 3600;

describe("a token is refreshed ahead from 50–65 % of its lifetime; its leeway is 10 % of it, at most a minute", () => {
  test.each([
    // lifetime, age in seconds, jitter, outcome
    [hour, 0, 0, "valid"],
    [hour, 0.499 * hour, 0, "valid"],
    [hour, 0.5 * hour, 0, "ahead"],
    [hour, 0.649 * hour, 1, "valid"],
    [hour, 0.65 * hour, 1, "ahead"],
    [hour, 0.574 * hour, 0.5, "valid"],
    [hour, 0.575 * hour, 0.5, "ahead"],
    [hour, hour - 61, 0, "ahead"],
    [hour, hour - minute, 0, "leeway"],
    [hour, hour - 0.001, 0, "leeway"],
    [hour, hour, 0, "expired"],
    [hour, 9 * hour, 0, "expired"],
    [30, 14.9, 0, "valid"],
    [30, 26.9, 0, "ahead"],
    [30, 27, 0, "leeway"],
    [30, 30, 0, "expired"],
    [10 * minute, 9 * minute, 0, "leeway"],
    [5 * minute, 4.5 * minute - 0.001, 0, "ahead"],
    [5 * minute, 4.5 * minute, 0, "leeway"],
    [0, 0, 0, "expired"],
    // A clock that was put back: the token is not older than new.
    [hour, -hour, 1, "valid"],
  ])("lifetime %d s, age %d s, jitter %d: %s", (lifetime, age, jitter, expected) => {
    const issuedAt = 1_000_000;
    const token = { accessToken: "x", issuedAt, expiresAt: issuedAt + lifetime * 1000 };
    expect(freshness(token, issuedAt + age * 1000, jitter)).toBe(expected);
  });

  test("without `expires_in` it is used until it is refused", () => {
    expect(freshness({ accessToken: "x", issuedAt: 0 }, Number.MAX_SAFE_INTEGER, 0)).toBe("valid");
    expect(aheadAt({ issuedAt: 0 }, 0)).toBe(Number.POSITIVE_INFINITY);
  });

  test("no access token is an expired one", () => {
    expect(freshness({ issuedAt: 0, expiresAt: 10 }, 0, 0)).toBe("expired");
  });
});
