/** The same program, the same answers, in every runtime: the neutral entries need nothing but the Web's APIs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Report, Step, StepName } from "./report.ts";
import { runtimes } from "./runtimes.ts";
import { type Stage, startStage } from "./stage.ts";

const trail = [
  ...["login started", "login ok", "refresh ok", "refresh ok"],
  ...["step-up started", "login started", "login ok", "step-up ok", "logout ok"],
].map((line) => `ann: ${line}`);

/** What every runtime must see, and what the authorization server was asked for meanwhile. */
const steps: Readonly<Record<StepName, Step>> = {
  "discovery, registration, login": { saw: ["authorized", 200], requests: { register: 1, authorization_code: 1 } },
  "refresh at expiry": { saw: [true, 200], requests: { refresh_token: 1 } },
  "50 refused calls at once": { saw: { 200: 50 }, requests: { refresh_token: 1 } },
  "step-up": { saw: [200, 200], requests: { authorization_code: 1 } },
  logout: { saw: { wasLoggedIn: true, refreshTokenRevoked: true }, requests: { revoke: 3 } },
  "audit trail": { saw: trail, requests: {} },
  "a program's client credentials": { saw: { 200: 50 }, requests: { client_credentials: 1 } },
  "a hosted login, begun on one machine, finished on another": {
    saw: { account: "ben", returnTo: "http://127.0.0.1:1/tools", status: 200, again: "state_mismatch" },
    requests: { register: 1, authorization_code: 1 },
  },
};

describe.each(runtimes)("$name", ({ isHere, name, run, userAgent }) => {
  let stage: Stage;
  let report: Report;

  beforeAll(async () => {
    if (!isHere && !process.env.CI) return;
    stage = await startStage();
    report = await run(stage.setting);
  });
  afterAll(() => stage?.[Symbol.asyncDispose]());

  describe.runIf(isHere || process.env.CI)(isHere ? "is here" : `${name} is not installed here`, () => {
    test("it is that runtime", () => expect(report.userAgent).toMatch(userAgent));

    test.each(Object.entries(steps))("%s", (step, expected) => {
      expect(report.steps[step as StepName]).toEqual(expected);
    });
  });
});
