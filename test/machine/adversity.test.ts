/** What goes wrong around a program that asks for tokens: nobody waits for ever, nothing is asked again and again, and what can work does. */
import { DEFAULT_REQUEST_TIMEOUT_MSEC } from "@modelcontextprotocol/sdk/shared/protocol.js";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Challenge } from "../../src/discovery/challenge.ts";
import { InsufficientScopeError, McpAuthError, type McpAuthErrorCode, MemoryStore } from "../../src/index.ts";
import type { AssertionRequest } from "../../src/machine/assertion.ts";
import { failure } from "../discovery/support.ts";
import { manualClock, minutes, shiftedClock } from "../storm/support.ts";
import {
  type Answer,
  type Asked,
  issuer,
  lacking,
  resourceMetadata,
  type Scripted,
  scripted,
  scriptedProgram,
  serverUrl,
  unauthorized,
} from "./scripted.ts";

const tokenUrl = `${issuer}/token`;
const refusesClient = () => ({ status: 401, body: { error: "invalid_client" } });

/** Each tool needs a scope of its own name; the authorization server gives what is asked for. */
function withToolScopes(): Scripted {
  const servers = scripted();
  const scopes = new Map<string, string[]>();
  servers.routes[tokenUrl] = ({ form }) => {
    const answer = servers.issue();
    scopes.set((answer.body as { access_token: string }).access_token, (form.get("scope") ?? "").split(" "));
    return answer;
  };
  servers.routes[serverUrl] = ({ bearer = "", tool = "" }) => {
    if (!servers.good.has(bearer)) return unauthorized(', scope="whoami"');
    return tool === "" || scopes.get(bearer)?.includes(tool) ? { body: {} } : lacking(tool);
  };
  return servers;
}

/** A token endpoint that answers when told to. */
function held(servers: Scripted) {
  const answer = servers.routes[tokenUrl] as Exclude<Scripted["routes"][string], undefined>;
  const { promise, resolve: open } = Promise.withResolvers<void>();
  servers.routes[tokenUrl] = async (asked) => {
    await promise;
    return answer(asked);
  };
  return {
    open: () => {
      servers.routes[tokenUrl] = answer;
      open();
    },
    reached: () => expect.poll(() => servers.tokenRequests()).not.toHaveLength(0),
  };
}

/** Nothing can be written. */
function fullStore(): MemoryStore {
  const store = new MemoryStore();
  const full = () => Promise.reject(new Error("disk full"));
  const { withLock } = store;
  store.set = full;
  store.withLock = (key, action, options) => withLock.call(store, key, (held) => action({ ...held, set: full }) as never, options) as never;
  return store;
}

describe("what the app supplies", () => {
  const never = () => new Promise<string>(() => {});
  test.each([
    ["a secret", { clientSecret: never }, /`clientSecret`, 10000 ms/, { party: "app" }],
    ["an assertion", { clientId: undefined, clientSecret: undefined, assertion: never }, /./, {}],
  ])("%s that never comes: everybody is told in time", async (_what, options, words, facts) => {
    const clock = manualClock();
    const { auth } = scriptedProgram(scripted(), { ...options, clock });
    const begun = clock.now();
    let isOver = false;
    const waiting = Promise.all([failure(auth.getAccessToken()), failure(auth.getAccessToken())]).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      clock.advance(1000);
    }
    expect(clock.now() - begun).toBeLessThan(minutes(10));
    for (const error of await waiting) {
      expect(error).toMatchObject({ code: "timeout", transient: true, ...facts });
      expect(error.message).toMatch(words);
    }
    await auth.dispose();
  });

  test("a secret that comes leaves no timer behind", async () => {
    const clock = manualClock();
    await scriptedProgram(scripted(), { clock, clientSecret: async () => "a-secret-of-the-test" }).auth.getAccessToken();
    expect(clock.timers).toEqual([]);
  });

  test("a secret whose source fails: a typed error, with the source's own as its cause", async () => {
    const cause = new Error("vault sealed");
    const { auth } = scriptedProgram(scripted(), { clientSecret: () => Promise.reject(cause) });
    expect(await failure(auth.getAccessToken())).toMatchObject({ code: "credential_unavailable", cause });
  });

  test.each([
    ["empty", ""],
    ["missing", undefined],
    ["no text", 1],
  ])("a secret that is %s: an error of the app, and no token request", async (_what, secret) => {
    const servers = scripted();
    const { auth } = scriptedProgram(servers, { clientSecret: () => secret as string });
    const error = await failure(auth.getAccessToken());
    expect(error).toMatchObject({ code: "invalid_option", party: "app" });
    expect(error.message).toContain("`clientSecret` returned nothing");
    expect(servers.tokenRequests()).toEqual([]);
  });

  test("a secret that was refused, supplied again: it is not sent again", async () => {
    const servers = scripted();
    servers.routes[tokenUrl] = refusesClient;
    const { auth } = scriptedProgram(servers, { clientSecret: () => "an-old-secret-of-the-test" });
    expect((await failure(auth.getAccessToken())).code).toBe("invalid_client");
    expect(servers.tokenRequests()).toHaveLength(1);
  });

  test("a new secret is asked for where the server says no more than 401", async () => {
    const servers = scripted();
    let secret = "an-old-secret-of-the-test";
    servers.routes[tokenUrl] = ({ authorization = "" }) =>
      atob(authorization.slice(6)).includes("an-old-secret") ? { status: 401, body: "<h1>401</h1>" } : servers.issue();
    const { auth } = scriptedProgram(servers, {
      clientSecret: () => {
        const supplied = secret;
        secret = "a-new-secret-of-the-test";
        return supplied;
      },
    });
    await auth.getAccessToken();
    expect(servers.tokenRequests()).toHaveLength(2);
  });
});

test.each([
  ["that are requested", ["read", "write"], ["read", "write"]],
  ["where none are requested: not an empty list, which would grant nothing", undefined, undefined],
])("the source of assertions is told the scopes %s", async (_rule, scopes, expected) => {
  const requests: AssertionRequest[] = [];
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const assertion = (request: AssertionRequest) => {
    requests.push(request);
    return `${part({ alg: "ES256" })}.${part({ aud: issuer })}.c2ln`;
  };
  await scriptedProgram(scripted(), { clientId: undefined, clientSecret: undefined, assertion, scopes }).auth.getAccessToken();
  expect(requests.map((request) => request.scopes)).toEqual([expected]);
});

describe("a refusal that another process has met", () => {
  /** Waits in line behind `first`, which is refused. */
  async function behind(servers: Scripted, first: () => Promise<unknown>, second: () => Promise<unknown>) {
    const gate = held(servers);
    const one = first().catch((error: unknown) => error);
    await gate.reached();
    const other = second().catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 5));
    gate.open();
    return [await one, await other];
  }

  test("is shared, with what the server said", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    servers.routes[tokenUrl] = () => ({ status: 401, body: { error: "invalid_client", error_description: "expired in May" } });
    const [one, other] = [scriptedProgram(servers, { store }), scriptedProgram(servers, { store })];
    const [, shared] = await behind(
      servers,
      () => one.auth.getAccessToken(),
      () => other.auth.getAccessToken(),
    );
    expect(shared).toMatchObject({
      code: "invalid_client",
      status: 401,
      serverError: "invalid_client",
      serverDescription: "expired in May",
    });
    expect(servers.tokenRequests()).toHaveLength(1);
  });

  test("is not shared by one that has another secret", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    servers.routes[tokenUrl] = ({ authorization = "" }) =>
      atob(authorization.slice(6)).includes("old") ? refusesClient() : servers.issue();
    const one = scriptedProgram(servers, { store, clientSecret: "an-old-secret-of-the-test" });
    const other = scriptedProgram(servers, { store, clientSecret: "a-new-secret-of-the-test" });
    const [refused, token] = await behind(
      servers,
      () => one.auth.getAccessToken(),
      () => other.auth.getAccessToken(),
    );
    expect([(refused as McpAuthError).code, typeof token]).toEqual(["invalid_client", "string"]);
    expect(JSON.stringify(await Promise.all((await store.keys("")).map((key) => store.get(key))))).not.toContain("secret-of-the-test");
  });

  test("is shared although one with another secret was refused after it", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    servers.routes[tokenUrl] = refusesClient;
    const waiting = (secret: string) => () => failure(scriptedProgram(servers, { store, clientSecret: secret }).auth.getAccessToken());
    const [one, other, again] = [waiting("secret-one-of-the-test"), waiting("secret-two-of-the-test"), waiting("secret-one-of-the-test")];
    await behind(servers, one, () => Promise.all([other(), again()]));
    expect(new Set(servers.tokenRequests().map(({ authorization }) => authorization)).size).toBe(2);
    expect(servers.tokenRequests()).toHaveLength(2);
  });

  test("of more scopes is not shared by one that does not want them", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    const clock = shiftedClock();
    servers.routes[serverUrl] = ({ bearer = "", tool }) =>
      !servers.good.has(bearer) ? unauthorized() : tool === "admin" ? lacking("admin") : { body: {} };
    const options = { store, clock, scopes: ["read"] };
    const [one, other] = [scriptedProgram(servers, options), scriptedProgram(servers, options)];
    await one.auth.getAccessToken();
    servers.log.length = 0;
    servers.routes[tokenUrl] = ({ form }) =>
      form.get("scope")?.includes("admin") ? { status: 400, body: { error: "invalid_scope" } } : servers.issue();
    const [refused, token] = await behind(
      servers,
      () => one.call("admin"),
      () => {
        clock.shift(minutes(10));
        return other.auth.getAccessToken();
      },
    );
    expect(refused).toBeInstanceOf(InsufficientScopeError);
    expect(token).toBeTypeOf("string");
  });

  test("holds for what waits in the same manager, also where the store keeps nothing", async () => {
    const servers = withToolScopes();
    const { call } = scriptedProgram(servers, { store: fullStore() });
    await call();
    servers.routes[tokenUrl] = refusesClient;
    servers.log.length = 0;
    const [one, other] = await behind(
      servers,
      () => call("admin"),
      () => {
        servers.good.clear();
        return call();
      },
    );
    expect([one, other]).toMatchObject([{ code: "invalid_client" }, { code: "invalid_client" }]);
    expect(servers.tokenRequests()).toHaveLength(1);
  });

  test("by an option of its own is not shared", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    let isBroken = true;
    const { resolve: fail, promise: failing } = Promise.withResolvers<void>();
    const clientSecret = async () => {
      if (isBroken) await failing;
      if (isBroken) throw new McpAuthError("invalid_option", { issuer, detail: "mine" });
      return "a-secret-of-the-test";
    };
    const [one, other] = [
      scriptedProgram(servers, { store, clientSecret }),
      scriptedProgram(servers, { store, clientSecret: "a-secret-of-the-test" }),
    ];
    const refused = failure(one.auth.getAccessToken());
    await expect.poll(() => servers.log.length).toBeGreaterThan(2);
    const token = other.auth.getAccessToken();
    await new Promise((resolve) => setTimeout(resolve, 5));
    fail();
    expect((await refused).message).toContain("mine");
    isBroken = false;
    expect(await token).toBeTypeOf("string");
  });

  test("counts for those who waited for it, also when a clock was wrong", async () => {
    const servers = scripted();
    const store = new MemoryStore();
    const clock = shiftedClock();
    clock.shift(minutes(600));
    servers.routes[tokenUrl] = refusesClient;
    await failure(scriptedProgram(servers, { store, clock }).auth.getAccessToken());
    servers.routes[tokenUrl] = () => servers.issue();
    await scriptedProgram(servers, { store }).auth.getAccessToken();
  });
});

describe("clocks that are put back", () => {
  test("a refusal is not remembered for longer than a minute", async () => {
    const servers = scripted();
    const clock = shiftedClock();
    servers.routes[tokenUrl] = refusesClient;
    const { auth } = scriptedProgram(servers, { clock });
    await failure(auth.getAccessToken());
    servers.routes[tokenUrl] = () => servers.issue();
    clock.shift(minutes(-600));
    await auth.getAccessToken();
  });

  test("a token from before them is not for ever so new that its refusal is final", async () => {
    const servers = scripted();
    const clock = shiftedClock();
    const { auth, call } = scriptedProgram(servers, { clock });
    await auth.getAccessToken();
    const answer = servers.routes[serverUrl] as (asked: Asked) => ReturnType<Scripted["issue"]>;
    servers.good.clear();
    // Nobody knows whether the new token is good.
    servers.routes[serverUrl] = (asked) => (servers.good.has(asked.bearer ?? "") ? { status: 503 } : answer(asked));
    expect((await call()).status).toBe(503);
    servers.routes[serverUrl] = answer;
    clock.shift(minutes(-60));
    servers.good.clear();
    expect((await call()).status).toBe(200);
  });

  test("nor are scopes that could not be had for longer than ten", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const { call } = scriptedProgram(servers, { clock });
    await call();
    const give = servers.routes[tokenUrl];
    servers.routes[tokenUrl] = () => ({ status: 400, body: { error: "invalid_scope" } });
    await failure(call("write"));
    if (give) servers.routes[tokenUrl] = give;
    clock.shift(minutes(-600));
    expect((await call("write")).status).toBe(200);
  });
});

describe("scopes", () => {
  test("that many calls lack at once, each others: all get theirs", async () => {
    const servers = withToolScopes();
    const { call } = scriptedProgram(servers);
    await call();
    const tools = ["write", "delete", "share", "rename"];
    expect((await Promise.all(tools.map(call))).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(servers.tokenRequests()).toHaveLength(5);
  });

  test("that many calls lack at once, the same: one token request", async () => {
    const servers = withToolScopes();
    const { call } = scriptedProgram(servers);
    await call();
    expect(new Set((await Promise.all(Array.from({ length: 50 }, () => call("write")))).map(({ status }) => status))).toEqual(
      new Set([200]),
    );
    expect(servers.tokenRequests()).toHaveLength(2);
  });

  test("that the server gave unasked are not lost by a step-up", async () => {
    const servers = withToolScopes();
    const give = servers.routes[tokenUrl] as (asked: Asked) => ReturnType<Scripted["issue"]>;
    servers.routes[tokenUrl] = (asked) => {
      if (!asked.form.get("scope")) asked.form.set("scope", "whoami");
      const answer = give(asked);
      return { body: { ...(answer.body as object), scope: asked.form.get("scope") } };
    };
    const { call } = scriptedProgram(servers, { issuer });
    for (const tool of ["whoami", "write", "whoami"]) expect((await call(tool)).status).toBe(200);
    expect(servers.tokenRequests().map(({ form }) => form.get("scope"))).toEqual(["whoami", "whoami write"]);
  });

  test("that a step-up got, but that are not given any more: the program goes on with those that it has", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const store = new MemoryStore();
    const { call } = scriptedProgram(servers, { clock, store, scopes: ["whoami"] });
    expect((await call("write")).status).toBe(200);
    const give = servers.routes[tokenUrl] as (asked: Asked) => ReturnType<Scripted["issue"]>;
    servers.routes[tokenUrl] = (asked) =>
      asked.form.get("scope")?.includes("write") ? { status: 400, body: { error: "invalid_scope" } } : give(asked);
    clock.shift(minutes(6));
    const sent = servers.log.length;
    expect((await call("whoami")).status).toBe(200);
    // With the right token at once: the server refuses nothing.
    expect(servers.log.slice(sent).filter(({ url }) => url === serverUrl)).toHaveLength(1);
    expect((await scriptedProgram(servers, { clock, store, scopes: ["whoami"] }).call("whoami")).status).toBe(200);
    expect(servers.tokenRequests().map(({ form }) => form.get("scope"))).toEqual(["whoami", "whoami write", "whoami write", "whoami"]);
  });

  test("of a second program in the same store are those of the challenge, too, not all that there are (REQ-SEC-03)", async () => {
    const servers = withToolScopes();
    servers.routes[resourceMetadata] = () => ({
      body: { resource: serverUrl, authorization_servers: [issuer], scopes_supported: ["whoami", "write", "admin"] },
    });
    const store = new MemoryStore();
    for (const clientId of ["one", "other"]) await scriptedProgram(servers, { store, clientId }).auth.getAccessToken();
    expect(servers.tokenRequests().map(({ form }) => form.get("scope"))).toEqual(["whoami", "whoami"]);
  });

  test("of which the server invents new ones for ever: the program stops", async () => {
    const servers = scripted();
    const clock = shiftedClock();
    let serial = 0;
    servers.routes[serverUrl] = ({ bearer = "" }) => (servers.good.has(bearer) ? lacking(`scope-${++serial}`) : unauthorized());
    const { call } = scriptedProgram(servers, { clock });
    for (let i = 0; i < 200; i++) await call(`tool${i}`);
    expect(servers.tokenRequests().length).toBeLessThan(60);
    clock.shift(minutes(11));
    const before = servers.tokenRequests().length;
    await call();
    expect(servers.tokenRequests().length).toBeGreaterThan(before);
  });

  test("that could not be had because the client was refused: worth another try after a minute, as all else", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const { call } = scriptedProgram(servers, { clock });
    await call();
    const give = servers.routes[tokenUrl] as (asked: Asked) => ReturnType<Scripted["issue"]>;
    servers.routes[tokenUrl] = refusesClient;
    expect((await failure(call("write"))).code).toBe("invalid_client");
    servers.routes[tokenUrl] = give;
    expect((await failure(call("write"))).code).toBe("invalid_client");
    clock.shift(minutes(1.1));
    expect((await call("write")).status).toBe(200);
  });

  test("that could not be had because the server was away: worth another try", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const { call } = scriptedProgram(servers, { clock });
    await call();
    const give = servers.routes[tokenUrl];
    servers.routes[tokenUrl] = () => ({ status: 400, body: { error: "temporarily_unavailable" } });
    for (let i = 0; i < 3; i++) expect((await failure(call("write"))).transient).toBe(true);
    if (give) servers.routes[tokenUrl] = give;
    expect((await call("write")).status).toBe(200);
  });

  test.each<[what: string, answer: Answer | undefined, code: McpAuthErrorCode]>([
    ["the app cannot supply its secret", undefined, "credential_unavailable"],
    ["the server asks for an hour's time", { status: 429, headers: { "retry-after": "3600" } }, "rate_limited"],
  ])("that many calls lack at once, each others, while %s: one try for all of them", async (_what, answer, code) => {
    const servers = withToolScopes();
    let isSealed = false;
    let tries = 0;
    const clientSecret = () => {
      tries++;
      if (isSealed) throw new Error("vault sealed");
      return "a-secret-of-the-test";
    };
    const { call } = scriptedProgram(servers, { clientSecret });
    await call();
    tries = 0;
    isSealed = answer === undefined;
    if (answer) servers.routes[tokenUrl] = () => answer;
    const errors = await Promise.all(["write", "delete", "share", "rename"].map((tool) => failure(call(tool))));
    expect(errors.map((error) => error.code)).toEqual([code, code, code, code]);
    expect(tries).toBe(1);
  });

  test("that the server refuses although they are no more than it was asked for at first: it is asked once", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const { call } = scriptedProgram(servers, { clock, scopes: ["whoami"] });
    await call();
    servers.routes[tokenUrl] = () => ({ status: 400, body: { error: "invalid_scope" } });
    servers.log.length = 0;
    clock.shift(minutes(6));
    expect(await failure(call())).toMatchObject({ code: "insufficient_scope", requiredScopes: ["whoami"], party: "authorization-server" });
    expect(servers.tokenRequests()).toHaveLength(1);
  });

  test("are not asked for with a secret that has just been refused", async () => {
    const servers = withToolScopes();
    const clock = shiftedClock();
    const { call } = scriptedProgram(servers, { clock });
    await call();
    servers.routes[tokenUrl] = refusesClient;
    for (const tool of ["write", "delete", "share"]) expect((await failure(call(tool))).code).toBe("invalid_client");
    expect(servers.tokenRequests()).toHaveLength(2);
    expect((await call()).status).toBe(200);
    // Neither is a token that is refused meanwhile renewed with it.
    servers.good.clear();
    expect((await failure(call())).code).toBe("invalid_client");
    expect(servers.tokenRequests()).toHaveLength(2);
  });
});

describe("a disk that is slow", () => {
  /** Writes and deletions under a lock take a while. */
  function slowStore(): MemoryStore {
    const store = new MemoryStore();
    const { withLock } = store;
    const later = async () => void (await new Promise((resolve) => setTimeout(resolve, 5)));
    store.withLock = (key, action, options) =>
      withLock.call(
        store,
        key,
        (held) =>
          action({
            ...held,
            set: (name, value) => later().then(() => held.set(name, value)),
            delete: (name) => later().then(() => held.delete(name)),
          }) as never,
        options,
      ) as never;
    return store;
  }

  test("a new token is stored when its caller has it: the next program requests none", async () => {
    const servers = scripted();
    const store = slowStore();
    expect((await scriptedProgram(servers, { store }).call()).status).toBe(200);
    expect((await scriptedProgram(servers, { store }).call()).status).toBe(200);
    expect(servers.tokenRequests()).toHaveLength(1);
  });

  test("a refused token is gone when its caller is told: the next program does not send it", async () => {
    const servers = scripted();
    const store = slowStore();
    const { call } = scriptedProgram(servers, { store });
    await call();
    servers.good.clear();
    servers.routes[tokenUrl] = refusesClient;
    expect((await failure(call())).code).toBe("invalid_client");
    servers.log.length = 0;
    expect((await failure(scriptedProgram(servers, { store }).call())).code).toBe("invalid_client");
    expect(servers.log.filter(({ url, bearer }) => url === serverUrl && bearer)).toEqual([]);
  });
});

test("a machine that sleeps while a token is stored: its caller gets one that has not expired meanwhile", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const store = new MemoryStore();
  const { withLock } = store;
  let sleepMs = minutes(10);
  store.withLock = (key, action, options) =>
    withLock.call(
      store,
      key,
      (held) =>
        action({
          ...held,
          set: async (name, value) => {
            await held.set(name, value);
            clock.shift(sleepMs);
            sleepMs = 0;
          },
        }) as never,
      options,
    ) as never;
  expect(await scriptedProgram(servers, { clock, store }).auth.getAccessToken()).toBe("token-2-of-the-test");
});

test("a token that could not be stored is not replaced by the one that it has replaced", async () => {
  const servers = scripted();
  const store = new MemoryStore();
  const { withLock } = store;
  const { call } = scriptedProgram(servers, { store });
  await call();
  store.withLock = (key, action, options) =>
    withLock.call(
      store,
      key,
      (held) =>
        action({
          ...held,
          set: () => Promise.reject(new Error("disk full")),
          delete: () => Promise.reject(new Error("disk full")),
        }) as never,
      options,
    ) as never;
  for (let i = 0; i < 3; i++) {
    servers.good.clear();
    servers.log.length = 0;
    expect((await call()).status).toBe(200);
    expect(servers.tokenRequests()).toHaveLength(1);
    expect(servers.log.filter(({ url }) => url === serverUrl)).toHaveLength(2);
  }
});

test("a refused token that cannot be deleted is not used again", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const store = new MemoryStore();
  const { withLock } = store;
  store.withLock = (key, action, options) =>
    withLock.call(store, key, (held) => action({ ...held, delete: () => Promise.reject(new Error("EIO")) }) as never, options) as never;
  const { call } = scriptedProgram(servers, { store, clock });
  await call();
  servers.good.clear();
  servers.routes[tokenUrl] = refusesClient;
  expect((await failure(call())).code).toBe("invalid_client");
  servers.routes[tokenUrl] = () => servers.issue();
  clock.shift(61_000);
  servers.log.length = 0;
  expect((await call()).status).toBe(200);
  expect(servers.log.filter(({ url, bearer }) => url === serverUrl && bearer)).toHaveLength(1);
});

test.each<[clock: string, seconds: number, code: McpAuthErrorCode]>([
  ["45 seconds ahead", 45, "clock_skewed"],
  ["45 seconds behind", -45, "clock_skewed"],
  ["15 seconds ahead, which servers allow", 15, "invalid_client"],
  ["15 seconds behind, which servers allow", -15, "invalid_client"],
])("a key that is refused by a server whose time is known, with a clock %s", async (_clock, seconds, code) => {
  const servers = scripted();
  const clock = manualClock();
  const privateKey = { algorithm: "RS256", sign: async () => new Uint8Array(256) };
  const date = new Date(clock.now() - seconds * 1000).toUTCString();
  servers.routes[tokenUrl] = () => ({ ...refusesClient(), headers: { date } });
  const { auth } = scriptedProgram(servers, { clock, clientSecret: undefined, privateKey });
  expect((await failure(auth.getAccessToken())).code).toBe(code);
});

test("an assertion is not blamed for a key that is refused because of a wrong clock", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const assertion = `${part({ alg: "ES256" })}.${part({ aud: issuer })}.c2ln`;
  const privateKey = { algorithm: "RS256", sign: async () => new Uint8Array(256) };
  const { auth } = scriptedProgram(servers, { clock, clientSecret: undefined, privateKey, assertion: () => assertion });
  servers.routes[tokenUrl] = () => ({ ...refusesClient(), headers: { date: new Date().toUTCString() } });
  clock.shift(minutes(10));
  expect((await failure(auth.getAccessToken())).code).toBe("clock_skewed");
  clock.shift(minutes(-10));
  servers.routes[tokenUrl] = () => servers.issue();
  await auth.getAccessToken();
});

test("a disk that was full from the beginning costs no token", async () => {
  const servers = scripted();
  const store = fullStore();
  const { auth, call } = scriptedProgram(servers, { store });
  expect((await call()).status).toBe(200);
  // It is bound to its authorization server all the same.
  servers.routes[resourceMetadata] = () => ({ body: { resource: serverUrl, authorization_servers: ["https://evil.example"] } });
  servers.routes["https://evil.example/.well-known/oauth-authorization-server"] = () => ({
    body: { issuer: "https://evil.example", token_endpoint: "https://evil.example/token" },
  });
  servers.good.clear();
  expect((await failure(call())).code).toBe("client_issuer_mismatch");
  expect(auth.lastError?.code).toBe("client_issuer_mismatch");
  expect(servers.tokenRequests().every(({ url }) => url === tokenUrl)).toBe(true);
});

test("`requestInit` recovers from a refusal that is over", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const { auth } = scriptedProgram(servers, { clock });
  await auth.authorize();
  const init = auth.requestInit();
  onTestFinished(() => init.dispose());
  servers.routes[tokenUrl] = refusesClient;
  clock.shift(minutes(3.5));
  expect(init.headers.authorization).toContain("Bearer");
  await expect.poll(() => servers.tokenRequests()).toHaveLength(2);
  clock.shift(minutes(6));
  for (let i = 0; i < 20; i++) {
    expect(() => init.headers).toThrow(McpAuthError);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  // Once more, because it is needed now; then not for a minute.
  expect(servers.tokenRequests()).toHaveLength(3);
  servers.routes[tokenUrl] = () => servers.issue();
  clock.shift(minutes(2));
  expect(() => init.headers).toThrow(McpAuthError);
  await expect.poll(() => init.headers.authorization).toContain("Bearer");
});

test.each([
  ["a token", "whoami", 1],
  ["a token with more scopes", "write", 2],
])("`dispose()` waits until %s that is on its way is stored", async (_what, tool, requests) => {
  const servers = withToolScopes();
  const store = new MemoryStore();
  const { auth, call } = scriptedProgram(servers, { store });
  if (requests > 1) await call();
  const gate = held(servers);
  call(tool).catch(() => {});
  await expect.poll(() => servers.tokenRequests()).toHaveLength(requests);
  const disposed = auth.dispose().then(() => "disposed");
  expect(await Promise.race([disposed, new Promise((resolve) => setTimeout(resolve, 20, "waiting"))])).toBe("waiting");
  gate.open();
  await disposed;
  const records = await Promise.all((await store.keys("machine/")).map((key) => store.get(key)));
  expect(records).toMatchObject([{ accessToken: `token-${requests}-of-the-test` }]);
});

test("another process that hangs with the lock: a program waits for longer than a token request takes, and is told before an SDK gives up", async () => {
  const store = new MemoryStore();
  const waits: (number | undefined)[] = [];
  const { withLock } = store;
  store.withLock = (key, action, options) => {
    waits.push(options?.lockTimeout);
    return withLock.call(store, key, action as never, options) as never;
  };
  await scriptedProgram(scripted(), { store }).auth.getAccessToken();
  expect(waits).toHaveLength(1);
  expect(waits[0]).toBeGreaterThan(30_000);
  expect(waits[0]).toBeLessThan(DEFAULT_REQUEST_TIMEOUT_MSEC);
});

test.each<[what: string, challenge: Challenge, decisions: string[], code: McpAuthErrorCode]>([
  [
    "a server that refuses every token",
    { status: 401, challenges: [] },
    // Each of the two tokens once more after half a second, and after two.
    ["retry", "retry", "retry", "retry", "retry", "give-up", "give-up"],
    "token_refused",
  ],
  [
    "a server that is never satisfied with the scopes",
    { status: 403, challenges: [], error: "insufficient_scope", scope: "admin" },
    ["retry", "retry", "give-up"],
    "insufficient_scope",
  ],
])("%s: its request is repeated within limits, then given up", async (_what, challenge, decisions, code) => {
  const { auth } = scriptedProgram(scripted(), { clock: manualClock() });
  const request = { method: "POST", url: new URL(serverUrl), operation: "tools/call" };
  const made: string[] = [];
  for (const _ of decisions) made.push(await auth.onChallenge(challenge, await auth.headers(request), request));
  expect(made).toEqual(decisions);
  expect(auth.lastError).toMatchObject({ code, serverUrl, issuer });
});

test("a refusal that comes late, of a token that has been replaced: the request is repeated with the new one", async () => {
  const servers = scripted();
  const { auth } = scriptedProgram(servers);
  const request = { method: "POST", url: new URL(serverUrl) };
  const old = await auth.headers(request);
  auth.onResponse(new Response(), old);
  const refusal = { status: 401, challenges: [] };
  const decisions = [await auth.onChallenge(refusal, old, request), await auth.onChallenge(refusal, old, request)];
  expect(decisions).toEqual(["retry", "retry"]);
  expect(servers.tokenRequests()).toHaveLength(2);
});

test("after `dispose()` a program that waits in line sends nothing", async () => {
  const servers = scripted();
  const store = new MemoryStore();
  const gate = held(servers);
  // The same line, but not the same token.
  const one = scriptedProgram(servers, { store }).auth;
  const other = scriptedProgram(servers, { store, tokenParameters: { audience: "x" } }).auth;
  const first = one.getAccessToken();
  await gate.reached();
  const second = failure(other.getAccessToken());
  await new Promise((resolve) => setTimeout(resolve, 5));
  const disposed = other.dispose();
  gate.open();
  await first;
  expect((await second).code).toBe("disposed");
  await disposed;
  expect(servers.tokenRequests()).toHaveLength(1);
});

test("a server that moves while a token is renewed ahead: the program is told, not the new server", async () => {
  const servers = scripted();
  const clock = shiftedClock();
  const { call } = scriptedProgram(servers, { clock });
  expect((await call()).status).toBe(200);
  const gate = held(servers);
  clock.shift(minutes(3.5));
  servers.log.length = 0;
  expect((await call()).status).toBe(200);
  await gate.reached();
  servers.routes[resourceMetadata] = () => ({ body: { resource: serverUrl, authorization_servers: ["https://evil.example"] } });
  servers.routes["https://evil.example/.well-known/oauth-authorization-server"] = () => ({
    body: { issuer: "https://evil.example", token_endpoint: "https://evil.example/token" },
  });
  servers.routes[serverUrl] = () => unauthorized();
  const refused = call().then(
    ({ status }) => status,
    (error: McpAuthError) => error.code,
  );
  await new Promise((resolve) => setTimeout(resolve, 5));
  gate.open();
  expect([401, "client_issuer_mismatch"]).toContain(await refused);
  expect(servers.tokenRequests().every(({ url }) => url === tokenUrl)).toBe(true);
});
