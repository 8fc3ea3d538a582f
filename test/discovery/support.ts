import { HttpResponse, http } from "msw";
import { setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { McpAuthError } from "../../src/errors.ts";
import type { AuthEventFacts } from "../../src/events.ts";

/** An answer of a made-up server: a JSON document, a status, a network failure, or anything else by a function. */
export type Answer = Record<string, unknown> | number | "unreachable" | ((request: Request) => Response | Promise<Response>);

/** Made-up servers: every URL without an answer is 404. An array is a sequence, whose last answer repeats. */
export function world() {
  let answers: Record<string, Answer | Answer[]> = {};
  const asked: string[] = [];
  const server = setupServer(
    http.all("*", async ({ request }) => {
      const url = request.url;
      asked.push(url);
      const listed = answers[url];
      const answer = Array.isArray(listed) ? (listed.length > 1 ? listed.shift() : listed[0]) : listed;
      if (answer === "unreachable") return HttpResponse.error();
      if (typeof answer === "function") return answer(request);
      if (typeof answer === "object") return HttpResponse.json(answer);
      return new HttpResponse("<!doctype html><p>nothing here", { status: answer ?? 404, headers: { "content-type": "text/html" } });
    }),
  );
  beforeAll(() => server.listen({ onUnhandledFrame: "error" }));
  afterEach(() => {
    answers = {};
    asked.length = 0;
  });
  afterAll(() => server.close());
  return {
    asked,
    serve: (more: Record<string, Answer | Answer[]>) => void Object.assign(answers, more),
  };
}

/** Time that passes only when the test says so. */
export class ManualClock implements Clock {
  time = Date.parse("2026-11-20T12:00:00Z");
  sleepers: { due: number; wake: () => void }[] = [];
  now = () => this.time;
  sleep: Clock["sleep"] = (ms, { signal } = {}) =>
    new Promise((resolve, reject) => {
      const sleeper = { due: this.time + ms, wake: resolve };
      const leave = () => {
        this.sleepers = this.sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason);
      };
      if (signal?.aborted) return leave();
      signal?.addEventListener("abort", leave);
      this.sleepers.push(sleeper);
    });

  /** Waits until so many sleep, then lets so much time pass that the first wakes; returns how long that was, in ms. */
  async next(sleepers = 1): Promise<number> {
    await expect.poll(() => this.sleepers.length, { interval: 50 }).toBeGreaterThanOrEqual(sleepers);
    const [first, ...others] = this.sleepers.sort((a, b) => a.due - b.due);
    const passed = (first?.due ?? 0) - this.time;
    this.time += passed;
    this.sleepers = others;
    first?.wake();
    return passed;
  }
}

/** Time in which nobody waits: every sleep is over at once. */
export function eagerClock(): Clock & { slept: number[] } {
  const slept: number[] = [];
  return {
    slept,
    now: () => Date.parse("2026-11-20T12:00:00Z"),
    sleep: async (ms, { signal } = {}) => {
      slept.push(ms);
      signal?.throwIfAborted();
    },
  };
}

export function recorded() {
  const events: AuthEventFacts[] = [];
  return { events, emit: (event: AuthEventFacts) => void events.push(event) };
}

/** The error of a promise that must reject with one of ours. */
export async function failure(promise: Promise<unknown>): Promise<McpAuthError> {
  const error = await promise.then(
    (value) => new Error(`resolved to ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!(error instanceof McpAuthError)) throw error;
  return error;
}

/** The codes in an AggregateError's order. */
export function reasons(error: McpAuthError): string[] {
  return (error.cause as AggregateError).errors.map((reason) => (reason as McpAuthError).code);
}

export const never = () => new Promise<Response>(() => {});
