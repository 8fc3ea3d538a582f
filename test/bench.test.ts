import { describe, expect, test } from "vitest";
import { ours } from "../bench/ours.ts";
import { countRoundTrips } from "../bench/round-trips.ts";
import { sdkClients } from "../bench/sdk.ts";
import { storm } from "../bench/storm.ts";

const v1 = sdkClients.find(({ name }) => name === "SDK v1");
if (!v1) throw new Error("the bench does not know SDK v1 any more");

describe("storm of the bench", () => {
  test.each([
    ["expired", 1],
    ["expired", 10],
    ["refused", 1],
    ["refused", 10],
  ] as const)("token %s, %i transports: one token request, no failed call, the login survives", async (token, transports) => {
    expect(await storm(ours, token, 10, transports)).toMatchObject({
      "token requests": 1,
      "failed calls": 0,
      windows: 0,
      "login alive": true,
    });
  });

  // Shows that what is counted above can be otherwise: the server is strict, and the calls do meet at once.
  test("without single flight the same storm ends the login", async () => {
    const { "token requests": requests, "failed calls": failed, "login alive": alive } = await storm(v1, "refused", 10, 1);
    expect({ alive, many: requests > 1, failed: failed > 0 }).toEqual({ alive: false, many: true, failed: true });
  });
});

describe("round trips of the bench", () => {
  test("cold start 6, wherever the metadata is; expired 2; valid 1", async () => {
    const counts = await countRoundTrips(ours);
    expect(counts).toMatchObject({ "token expired, metadata known": 2, "token valid": 1, counted: "exactly" });
    expect(counts["cold start"]).toBeLessThanOrEqual(6);
    expect(counts["cold start, metadata at the last place"]).toBeLessThanOrEqual(6);
  });

  test("SDK v1 in the same situations needs more", async () => {
    const counts = await countRoundTrips(v1);
    expect(counts["cold start"]).toBeGreaterThan(6);
    expect(counts["token expired, metadata known"]).toBeGreaterThan(2);
  });
});
