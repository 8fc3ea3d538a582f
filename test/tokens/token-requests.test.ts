/** Token requests of one process to one authorization server: how many at once, and who is next. */
import { describe, expect, test } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { McpAuthError } from "../../src/errors.ts";
import { createServerSession, endSession } from "../../src/tokens/session.ts";
import { TokenRequests, tokenHttp, tokenRequests } from "../../src/tokens/token-requests.ts";
import { issuer, serverUrl } from "../answers/support.ts";
import { manualClock } from "../storm/support.ts";

const settled = () => new Promise((resolve) => setTimeout(resolve));

/** A server that answers when the test says so. */
function server(clock: Clock = manualClock()) {
  const requests = new TokenRequests(issuer, clock, () => {});
  const open: { name: number; answer: (response: Response) => void; fail: (error: unknown) => void }[] = [];
  const outcomes: Record<number, unknown> = {};
  let count = 0;
  return {
    requests,
    outcomes,
    /** What is in flight, by number. */
    inFlight: () => open.map(({ name }) => name),
    async send(times: number) {
      for (let n = 0; n < times; n++) {
        const name = ++count;
        requests
          .send(() => new Promise((answer, fail) => open.push({ name, answer, fail })))
          .then(
            ({ status }) => (outcomes[name] = status),
            (error: McpAuthError) => (outcomes[name] = error.code),
          );
      }
      await settled();
    },
    /** The oldest ones are answered. */
    async answer(times: number, status = 200, headers: Record<string, string> = {}) {
      for (const { answer } of open.splice(0, times)) answer(new Response("", { status, headers }));
      await settled();
    },
    async fail(code: "timeout" | "network_error") {
      open.shift()?.fail(new McpAuthError(code));
      await settled();
    },
  };
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe("how many are in flight", () => {
  test("16, first come, first served", async () => {
    const { send, answer, inFlight } = server();
    await send(40);
    expect(inFlight()).toEqual(numbers(1, 16));
    await answer(3);
    expect(inFlight()).toEqual(numbers(4, 19));
    await answer(16);
    await answer(16);
    expect(inFlight()).toEqual(numbers(36, 40));
  });

  test("as many as the option says", async () => {
    const { requests, send, inFlight } = server();
    requests.allow(3);
    await send(10);
    expect(inFlight()).toEqual([1, 2, 3]);
  });

  test.each([429, 503])("%i: half as many at once; what was sent before that says nothing new", async (status) => {
    const { send, answer, inFlight } = server();
    await send(60);
    await answer(16, status);
    expect(inFlight()).toHaveLength(8);
    await answer(8, status);
    expect(inFlight()).toHaveLength(4);
  });

  test("never less than one", async () => {
    const { send, answer, inFlight } = server();
    await send(60);
    for (let n = 0; n < 10; n++) await answer(inFlight().length, 503);
    expect(inFlight()).toHaveLength(1);
  });

  test("one more for each round that is answered, and never more than at first", async () => {
    const { send, answer, inFlight } = server();
    await send(400);
    await answer(16, 429);
    const rounds: number[] = [];
    for (let n = 0; n < 12; n++) {
      await answer(inFlight().length);
      rounds.push(inFlight().length);
    }
    expect(rounds.slice(0, 3)).toEqual([8, 9, 10]);
    expect(rounds.at(-1)).toBe(16);
  });

  test("a refusal of one login, or a connection that is lost, is no reason to send fewer", async () => {
    const { send, answer, fail, inFlight } = server();
    await send(60);
    await answer(8, 400);
    await fail("network_error");
    await answer(7, 500);
    expect(inFlight()).toHaveLength(16);
  });
});

describe("a server that asks for time", () => {
  test("nothing is sent before; then all go on", async () => {
    const clock = manualClock();
    const { send, answer, inFlight } = server(clock);
    clock.sleep = () => new Promise(() => {});
    await send(20);
    await answer(1, 429, { "retry-after": "20" });
    await answer(15);
    expect(inFlight()).toEqual([]);
    clock.jump(19_000);
    await send(1);
    expect(inFlight()).toEqual([]);
    clock.jump(2000);
    await send(1);
    expect(inFlight()).toEqual(numbers(17, 22));
  });

  test("a timer wakes those who wait", async () => {
    const clock = manualClock();
    const { send, answer, inFlight } = server(clock);
    await send(20);
    await answer(16, 503, { "retry-after": "20" });
    expect(inFlight()).toEqual(numbers(17, 20));
  });

  test("more time than anybody waits: who waits gets the error at once, and so does who comes later", async () => {
    const clock = manualClock();
    const { send, answer, outcomes, inFlight } = server(clock);
    await send(18);
    await answer(1, 429, { "retry-after": "60" });
    await send(1);
    expect(outcomes).toEqual({ 1: 429, 17: "rate_limited", 18: "rate_limited", 19: "rate_limited" });
    clock.jump(61_000);
    await answer(15);
    await send(1);
    expect(inFlight()).toEqual([20]);
  });

  test("… and who comes shortly before that time is over waits for its end, by a timer", async () => {
    const clock = manualClock();
    const { send, answer, inFlight } = server(clock);
    await send(1);
    await answer(1, 503, { "retry-after": "60" });
    clock.jump(45_000);
    await send(1);
    expect([inFlight(), clock.slept]).toEqual([[2], [15_000]]);
  });
});

describe("a server that answers nobody", () => {
  test("who has waited as long as a request that got no answer is not sent", async () => {
    const clock = manualClock();
    const { send, fail, outcomes, inFlight } = server(clock);
    await send(20);
    clock.jump(30_000);
    await send(1);
    await fail("timeout");
    expect(outcomes).toEqual({ 1: "timeout", 17: "timeout", 18: "timeout", 19: "timeout", 20: "timeout" });
    expect(inFlight()).toEqual([...numbers(2, 16), 21]);
  });

  test("… unless it has answered somebody meanwhile", async () => {
    const clock = manualClock();
    const { send, answer, fail, outcomes } = server(clock);
    await send(20);
    clock.jump(30_000);
    await answer(1);
    await fail("timeout");
    expect(outcomes).toEqual({ 1: 200, 2: "timeout" });
  });
});

describe("locks", () => {
  const session = createServerSession({ serverUrl });

  /** Starts so many that hold their locks until the end; those in `blocked` never get theirs. */
  async function lock(requests: TokenRequests, times: number, isBlocked = false) {
    const held: number[] = [];
    const ended: PromiseWithResolvers<void>[] = [];
    for (let n = 0; n < times; n++) {
      const end = Promise.withResolvers<void>();
      ended.push(end);
      void requests.whileLocked(session, async (onLock) => {
        if (!isBlocked) onLock();
        held.push(n);
        await end.promise;
      });
    }
    await settled();
    return { held, ended };
  }

  test.each([
    ["at once", 0, 256],
    ["in a quarter of a second", 250, 64],
    ["in half a minute", 30_000, 32],
  ])("a server answers %s: so many logins are locked for 16 requests in flight", async (_rule, answerMs, most) => {
    const clock = manualClock();
    const { requests, send, answer } = server(clock);
    for (let n = 0; n < 50; n++) {
      await send(1);
      clock.jump(answerMs);
      await answer(1);
    }
    expect((await lock(requests, 400)).held).toHaveLength(most);
  });

  test("who has waited is next", async () => {
    const { requests } = server();
    const { held, ended } = await lock(requests, 200);
    expect(held).toHaveLength(64);
    for (const end of ended.slice(0, 10)) end.resolve();
    await settled();
    expect(held).toHaveLength(74);
  });

  test("whoever waits for a lock keeps nobody else waiting for more than a second, and has a place when it gets the lock", async () => {
    const clock = manualClock();
    const { requests } = server(clock);
    const blocked = await lock(requests, 64, true);
    const others = await lock(requests, 64);
    expect(others.held).toEqual([]);
    clock.advance(1000);
    await settled();
    expect(others.held).toHaveLength(64);
    for (const end of blocked.ended) end.resolve();
    await settled();
    const later = await lock(requests, 1);
    expect(later.held).toEqual([]);
    for (const end of others.ended) end.resolve();
    await settled();
    expect(later.held).toEqual([0]);
  });

  test.each<[rule: string, end: (session: ReturnType<typeof createServerSession>, ending: { now: boolean }) => void]>([
    ["a manager that was disposed of", (own) => void endSession(own)],
    [
      "a process that ends",
      (_, ending) => {
        ending.now = true;
      },
    ],
  ])("%s begins nothing that had to wait", async (_rule, end) => {
    const { requests } = server();
    const { ended } = await lock(requests, 64);
    const ending = { now: false };
    const own = createServerSession({ serverUrl, isEnding: () => ending.now });
    let begun = false;
    const waiting = requests.whileLocked(own, async () => {
      begun = true;
    });
    end(own, ending);
    const free = await lock(requests, 1);
    for (const { resolve } of ended) resolve();
    await expect(waiting).rejects.toMatchObject({ code: "disposed" });
    await settled();
    expect([begun, free.held]).toEqual([false, [0]]);
  });
});

describe("all managers of a process", () => {
  test("share the requests to one server; those to another have their own", async () => {
    const clock = manualClock();
    let sent: string[] = [];
    const hanging = (async (url: string) => {
      sent.push(url);
      return new Promise(() => {});
    }) as unknown as typeof fetch;
    const ask = (from: string) => {
      const session = createServerSession({ serverUrl, clock, fetch: hanging });
      void tokenHttp(session, from).fetch(`${from}/token`, { method: "POST" });
    };
    for (let n = 0; n < 40; n++) ask("https://one.example");
    await settled();
    expect(sent).toHaveLength(16);
    sent = [];
    for (let n = 0; n < 40; n++) ask("https://two.example");
    await settled();
    expect(sent).toEqual(Array.from({ length: 16 }, () => "https://two.example/token"));
  });

  test("nothing is kept of a server that is well while nobody waits; what is known of a busy one is", async () => {
    const clock = manualClock();
    const session = createServerSession({ serverUrl, clock });
    const first = tokenRequests(session, issuer);
    await first.send(async () => new Response());
    const second = tokenRequests(session, issuer);
    expect(second).not.toBe(first);
    await second.send(async () => new Response("", { status: 503 }));
    expect(tokenRequests(session, issuer)).toBe(second);
  });
});
