/** How long a cold start is, in sequential round trips: the user's one and those that the program makes. */
import { expect, test } from "vitest";
import { answer, type ProtectedServer, type ProtectedServerOptions, pathEnds, recordingFetch, roundTrips, when } from "../fixture/index.ts";
import { manager, post, startServer, userAtHand } from "./support.ts";

type Case = [what: string, expected: number, options: ProtectedServerOptions, prepare?: (server: ProtectedServer) => void];

const refuseOnce = ({ authorizationServer }: ProtectedServer) =>
  authorizationServer.intercept(when(pathEnds("/register"), answer(400, { error: "invalid_redirect_uri" }), 1));

test.each<Case>([
  ["metadata where it is looked for first", 6, {}],
  [
    "metadata at the last place that is looked at",
    6,
    { mcpServer: { resourceMetadata: "root" }, authorizationServer: { metadata: "openid" } },
  ],
  ["a challenge that names a place nobody can guess: one more", 7, { mcpServer: { resourceMetadata: "other" } }],
  ["metadata that points to another issuer: one more", 7, { mcpServer: { resourceMetadata: "none", originMetadata: true } }],
  ["a registration that is refused once: one more", 7, {}, refuseOnce],
])("%s: %i", async (_what, expected, options, prepare) => {
  const server = await startServer(options);
  prepare?.(server);
  const fetch = recordingFetch();
  const handler = userAtHand();
  // Two loopback hosts, so that a refused registration can be tried with one of them.
  const loginHandler: typeof handler = Object.assign(handler, {
    start: ((start) => async () => {
      const session = await start();
      return { ...session, redirectUris: [session.redirectUri, session.redirectUri.replace("127.0.0.1", "localhost")] };
    })(handler.start as () => ReturnType<typeof handler.start>),
  });
  const { auth } = manager(server, { fetch, loginHandler });
  expect(await post(auth)).toBe(200);
  expect(handler.opened).toBe(1);
  const user = 1;
  expect(roundTrips(fetch.log) + user).toBe(expected);
});
