/** What a user reads when a server, or the way to it, makes a mistake: message and hint as a whole, one row a mistake. */
import { HttpResponse } from "msw";
import { expect, test } from "vitest";
import type { LoginHandler } from "../../src/authorization/login-handler.ts";
import { asMetadata, issuer, json, manager, protectedWorld, serverUrl, TestClock, tokenEndpoint } from "../answers/support.ts";
import { failure, world } from "../discovery/support.ts";

const servers = world();
const where = `(server ${serverUrl}, authorization server ${issuer})`;
const metadata = `${issuer}/.well-known/oauth-authorization-server`;

/** A user whose browser comes back with these parameters; then nothing comes any more. */
function comesBackWith(parameters: (state: string) => Record<string, string>, clock: TestClock): LoginHandler {
  const redirectUri = "http://127.0.0.1:4711/callback";
  return {
    start: async () => ({
      redirectUri,
      redirectUris: [redirectUri],
      close: async () => {},
      async authorize(url, receive, signal) {
        const answer = new URLSearchParams(parameters(url.searchParams.get("state") ?? ""));
        const ended = await receive(answer).then(
          () => true,
          (error: { code?: string }) => {
            if (error.code !== "state_mismatch") throw error;
          },
        );
        if (ended) return;
        const late = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        clock.reachLimit();
        await late;
      },
    }),
  };
}

interface Mistake {
  /** What the browser comes back with. */
  answer?: (state: string) => Record<string, string>;
  /** What is served otherwise than usual. */
  serve?: Parameters<typeof servers.serve>[0];
  fetch?: typeof globalThis.fetch;
  code: string;
  party: string;
  message: string;
  hint: string;
}

const good = (state: string) => ({ state, code: "the-authorization-code" });
const stateless = {
  code: "login_timeout",
  party: "authorization-server",
  message: `The login was not finished in time: a response without \`state\` had arrived, which authorization servers must repeat (RFC 6749 §4.1.2) ${where}.`,
  hint: "If the authorization server sent it, the mistake is the server's: ask its operator. Its own page or log says why it answered.",
};
const distrusted = (code: string): typeof globalThis.fetch => {
  return async () => {
    throw new TypeError("fetch failed", { cause: Object.assign(new Error("no"), { code }) });
  };
};
const untrusted = (code: string): Mistake => ({
  fetch: distrusted(code),
  code: "network_error",
  party: "network",
  message: `The server cannot be reached: ${code} (server ${serverUrl}).`,
  hint: "If the certificate is your company's: set NODE_EXTRA_CA_CERTS to its CA's file, or start Node with --use-system-ca.",
});

test.each<[what: string, mistake: Mistake]>([
  ["a refusal without `state`", { answer: () => ({ error: "access_denied", error_description: "hush" }), ...stateless }],
  ["a code without `state`", { answer: () => ({ code: "hush" }), ...stateless }],
  [
    "a code without `state`, with the right `iss`, which anybody can write",
    { answer: () => ({ code: "hush", iss: issuer }), ...stateless },
  ],
  [
    "another login's answer",
    {
      answer: () => ({ code: "hush", state: "another" }),
      code: "login_timeout",
      party: "user",
      message: `The login was not finished in time ${where}.`,
      hint: "Log in again.",
    },
  ],
  [
    "`iss` is announced and not sent",
    {
      answer: good,
      serve: { [metadata]: { ...asMetadata, authorization_response_iss_parameter_supported: true } },
      code: "issuer_mismatch",
      party: "authorization-server",
      message: `The response comes from another authorization server: \`iss\` is missing, and the server's metadata promise it in every response ${where}.`,
      hint: "Do not log in there; if it is the right server, its operator must send `iss`, or no longer announce it (RFC 9207 §3).",
    },
  ],
  [
    "the exchange of the code is not answered",
    {
      answer: good,
      serve: { [tokenEndpoint]: () => HttpResponse.error() },
      code: "network_error",
      party: "network",
      message: `The server cannot be reached: the code of this login is spent, ${tokenEndpoint} ${where}.`,
      hint: "Log in again later.",
    },
  ],
  ["a company's own CA", untrusted("UNABLE_TO_VERIFY_LEAF_SIGNATURE")],
  ["… whose root is sent along", untrusted("SELF_SIGNED_CERT_IN_CHAIN")],
  ["a certificate that signs itself", untrusted("DEPTH_ZERO_SELF_SIGNED_CERT")],
  ["nobody listens", { ...untrusted("ECONNREFUSED"), hint: "Check the network, the address, the proxy and the certificates." }],
])("%s", async (_what, { answer = good, serve, fetch, ...expected }) => {
  protectedWorld(servers).answerTokens(json({}));
  if (serve) servers.serve(serve);
  const clock = new TestClock();
  const { auth } = manager({ clock, speculate: false, loginHandler: comesBackWith(answer, clock), ...(fetch && { fetch }) });
  const { code, party, message, hint, stack } = await failure(auth.authorize());
  expect({ code, party, message, hint }).toEqual(expected);
  expect(stack).not.toContain("hush");
});
