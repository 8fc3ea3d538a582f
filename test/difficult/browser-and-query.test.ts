/** A browser that prefetches, resources that a query tells apart, answers without `state`: through the life of a login. */
import { expect, test } from "vitest";
import { loopbackLogin } from "../../src/node/index.ts";
import { person } from "../fixture/index.ts";
import { failure, tally } from "../storm/support.ts";
import { add, sharedServer, stage } from "./support.ts";

const shared = sharedServer();

test("a browser that prefetches: the user sees the end of the login, and the code is spent once", async () => {
  const { as, attended } = stage(shared.get([]), []);
  const page = Promise.withResolvers<{ status: number }>();
  const openBrowser = async (url: URL) => void person(url, { prefetch: true }).then(page.resolve, page.reject);
  const auth = attended({ loginHandler: loopbackLogin({ openBrowser, print: () => {} }) });
  await auth.authorize();
  expect(await add(auth)).toBe("3");
  expect((await page.promise).status).toBe(200);
  expect(as.tokenRequests("authorization_code").length).toBe(1);
});

test("resources-by-query: a login each, which is found again, refreshed and ended without the other", async () => {
  const server = shared.get(["resources-by-query"]);
  const { attended, unattended, user, end, refreshes } = stage(server, ["resources-by-query"]);
  const [a, b] = [`${server.url}?project=a`, `${server.url}?project=b`];
  const programs = [attended({ serverUrl: a }), attended({ serverUrl: b })] as const;
  for (const auth of programs) await auth.authorize();
  expect([await add(programs[0]), await add(programs[1]), user.opened]).toEqual(["3", "3", 2]);
  end("expired");
  expect([await add(unattended({ serverUrl: a })), await add(unattended({ serverUrl: b }))]).toEqual(["3", "3"]);
  expect([user.opened, refreshes()]).toEqual([2, 2]);
  await programs[0].logout();
  expect(await tally([add(unattended({ serverUrl: a })), add(unattended({ serverUrl: b }))])).toEqual({ login_required: 1, 3: 1 });
});

test("answers-without-state: the login fails, and what is missing is said", async () => {
  const { attended, user } = stage(shared.get(["answers-without-state"]), ["answers-without-state"]);
  const error = await failure(attended().authorize());
  expect(error.message).toMatch(/`state`/);
  expect(user.opened).toBe(1);
});
