/** Metadata of the authorization server costs a refresh no time: what is known is used, and renewed beside it. */
import { expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { serverMetadata } from "../../src/tokens/known-server.ts";
import { createServerSession } from "../../src/tokens/session.ts";
import { issuer, serverUrl, TestClock } from "../answers/support.ts";
import { recordingFetch, roundTrips } from "../fixture/index.ts";
import { manager, minutes, post, seed, shiftedClock, startServer, userAtHand } from "../storm/support.ts";

const day = minutes(24 * 60);

async function loggedIn() {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 600 } });
  const store = new MemoryStore();
  const clock = shiftedClock();
  const first = manager(server, { store, clock, loginHandler: userAtHand() });
  expect(await first.auth.authorize()).toBe("authorized");
  const fetch = recordingFetch();
  const { auth } = manager(server, { store, clock, fetch });
  const metadataRequests = () => fetch.log.filter(({ url }) => url.pathname.includes("/.well-known/")).length;
  return { server, store, clock, fetch, auth, metadataRequests };
}

test("metadata that is valid is not asked for: two round trips to the answer", async () => {
  const { clock, fetch, auth, metadataRequests } = await loggedIn();
  clock.shift(minutes(11));
  expect(await post(auth)).toBe(200);
  expect([roundTrips(fetch.log), fetch.log.length, metadataRequests()]).toEqual([2, 2, 0]);
});

test("metadata that has expired is used, and renewed meanwhile: two round trips all the same", async () => {
  const { clock, fetch, auth, metadataRequests, store, server } = await loggedIn();
  clock.shift(6 * day);
  expect(await post(auth)).toBe(200);
  expect(metadataRequests()).toBeGreaterThan(0);
  await expect.poll(async () => (await store.get(`servers/${server.url}`))?.fetchedAt).toBeGreaterThan(clock.now() - day);
  const inOrder = fetch.log.filter(({ url }) => !url.pathname.includes("/.well-known/"));
  expect(inOrder.map(({ url }) => url.pathname)).toEqual(["/token", "/mcp"]);
});

test("metadata of last month is asked for first, and used when it cannot be had", async () => {
  const { server, clock, auth, metadataRequests } = await loggedIn();
  clock.shift(30 * day);
  server.authorizationServer.intercept(({ path }, response) => {
    if (!path.includes("/.well-known/")) return false;
    response.writeHead(404).end();
    return true;
  });
  expect(await post(auth)).toBe(200);
  expect(metadataRequests()).toBeGreaterThan(0);
});

test("tokens from elsewhere: metadata is found once, and kept", async () => {
  const server = await startServer({ authorizationServer: { accessTokenTtlSeconds: 600 } });
  const store = new MemoryStore();
  const clock = shiftedClock();
  await seed(server, store, { clock });
  const fetch = recordingFetch();
  const { auth } = manager(server, { store, clock, fetch });
  clock.shift(minutes(11));
  expect(await post(auth)).toBe(200);
  const found = fetch.log.length;
  clock.shift(minutes(11));
  expect(await post(auth)).toBe(200);
  expect(fetch.log.length - found).toBe(2);
});

test.each<[rule: string, ageMs: number, of: string, used: string, kept: string]>([
  ["valid: used", day - 1, issuer, "known", "known"],
  ["expired since less than a week: used, and renewed meanwhile", 7 * day - 1, issuer, "known", "new"],
  ["a week old: renewed first", 7 * day, issuer, "new", "new"],
  ["of another server, to which the login is about to move: not used, and not replaced", 0, "https://other.example", "new", "known"],
])("metadata that is %s", async (_rule, ageMs, of, used, kept) => {
  const store = new MemoryStore();
  const clock = new TestClock();
  const metadata = (name: string, by: string) => ({
    issuer: by,
    token_endpoint: `${by}/${name}`,
    authorization_endpoint: `${by}/authorize`,
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
  });
  const fetchedAt = clock.time - ageMs;
  const session = createServerSession({ serverUrl, store, clock, fetch: async () => Response.json(metadata("new", issuer)) });
  const key = `servers/${session.server}`;
  const record = {
    v: 1,
    serverUrl: session.server,
    resource: session.server,
    issuer: of,
    legacy: false,
    fetchedAt,
    validUntil: fetchedAt + day,
  };
  await store.set(key, { ...record, server: metadata("known", of) });
  expect((await serverMetadata(session, { issuer, resource: session.server })).token_endpoint).toBe(`${issuer}/${used}`);
  await expect.poll(async () => (await store.get(key))?.server).toMatchObject({ token_endpoint: `${of}/${kept}` });
});
