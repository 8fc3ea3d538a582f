/** What users of other clients saw go wrong, as tests named by what they saw: registrations and redirect URIs. */
import { createServer } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { internal } from "../fixture/http-server.ts";
import type { AuthorizationServer, Hook, LoggedRequest } from "../fixture/index.ts";
import { answer, pathEnds, registerByHand, tokenRequest, when } from "../fixture/index.ts";
import { endLogin } from "../storm/support.ts";
import { codeOf, connect, desktop, minutes, startServer } from "./support.ts";

const redirectUri = (url: URL | undefined) => new URL(url?.searchParams.get("redirect_uri") ?? "none:");
const clientId = (url: URL | undefined) => url?.searchParams.get("client_id");
const registers = when.bind(undefined, pathEnds("/register"));

describe("the second login fails: the stored registration has another port", () => {
  test("its port is free: it is listened on again, and the registration serves", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, store } = desktop(url);
    await auth.authorize();
    await endLogin(auth, store);
    const next = desktop(url, { store });
    expect(await next.auth.authorize()).toBe("authorized");
    expect(redirectUri(next.opened[0]).href).toBe(redirectUri(opened[0]).href);
    expect(as.registrations).toHaveLength(1);
  });

  test("its port is taken: another one, and a new registration", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, store } = desktop(url);
    await auth.authorize();
    await endLogin(auth, store);
    const other = createServer().listen(Number(redirectUri(opened[0]).port), "127.0.0.1");
    onTestFinished(() => void other.close());
    const next = desktop(url, { store });
    expect(await next.auth.authorize()).toBe("authorized");
    expect(redirectUri(next.opened[0]).port).not.toBe(redirectUri(opened[0]).port);
    expect(as.registrations).toHaveLength(2);
    expect(next.saw("registration.stale")).toEqual([expect.objectContaining({ reason: "redirect-uri" })]);
  });
});

describe("the server has forgotten the registration", () => {
  test("the user sees an error page, and the client waits for ever: it does not, and the next login registers anew", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, store } = desktop(url);
    await auth.authorize();
    await endLogin(auth, store);
    as.forgetClients();

    const second = desktop(url, { store, loginTimeout: 500 });
    expect(await codeOf(second.auth.authorize())).toBe("login_timeout");
    expect(clientId(second.opened[0])).toBe(clientId(opened[0]));

    const third = desktop(url, { store });
    expect(await third.auth.authorize()).toBe("authorized");
    expect(clientId(third.opened[0])).not.toBe(clientId(opened[0]));
    expect(as.registrations).toHaveLength(2);
  });

  test("the refresh is answered invalid_client: one new registration, one login, and the call is answered", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened, clock } = desktop(url);
    await auth.authorize();
    const call = await connect(auth);
    as.forgetClients();
    clock.ahead = minutes(6);
    expect(await call("whoami")).toMatchObject({ sub: "alice" });
    expect(as.registrations).toHaveLength(2);
    expect(opened).toHaveLength(2);
    expect(clientId(opened[1])).not.toBe(clientId(opened[0]));
  });

  test("a client registered beforehand is refused: one window, and the registration of other programs is kept", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, store } = desktop(url);
    await auth.authorize();
    await endLogin(auth, store);
    const clientId = await registerByHand(as, {});
    as.intercept(when(tokenRequest("authorization_code"), answer(401, { error: "invalid_client" })));
    const other = desktop(url, { store, clientId });
    expect(await codeOf(other.auth.authorize())).toBe("invalid_client");
    expect([other.opened.length, await store.keys("registrations/http")]).toEqual([1, [`registrations/${as.issuer}`]]);
  });

  test("without a user: the error names the client, and nothing is asked again and again", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, store, clock } = desktop(url);
    await auth.authorize();
    as.forgetClients();
    clock.ahead = minutes(6);
    const next = desktop(url, { store, clock, interactive: false });
    expect(await codeOf(next.auth.getAccessToken())).toBe("invalid_client");
    await codeOf(next.auth.getAccessToken());
    expect(as.tokenRequests("refresh_token")).toHaveLength(1);
  });
});

/** The server's own answer to a registration, with some members replaced. */
const registeringWith =
  (as: AuthorizationServer, change: Record<string, unknown>): Hook =>
  async (request, response) => {
    const headers = { ...internal, "content-type": "application/json" };
    const registered = await fetch(`${as.issuer}/register`, { method: "POST", headers, body: request.body });
    return answer(registered.status, { ...((await registered.json()) as object), ...change })(request, response);
  };

test("the registration answers with foreign `redirect_uris`: ours are kept, with a warning", async () => {
  const { authorizationServer: as, url } = await startServer();
  const { auth, opened, saw } = desktop(url);
  as.intercept(registers(registeringWith(as, { redirect_uris: ["https://litellm.example/sso/callback"] })));
  expect(await auth.authorize()).toBe("authorized");
  expect(redirectUri(opened[0]).hostname).toBe("127.0.0.1");
  expect(saw("registration.foreign-redirect-uris")).toHaveLength(1);
});

describe("`127.0.0.1` is refused here, `localhost` there", () => {
  const mentions = (host: string) => (request: LoggedRequest) => request.path.endsWith("/register") && request.body.includes(`//${host}:`);

  test.each<[string, string, Hook, string]>([
    ["Salesforce's way", "127.0.0.1", answer(400, { error: "invalid_redirect_uri" }), "localhost"],
    ["a firewall's way", "127.0.0.1", answer(403, "<h1>Request blocked", { "content-type": "text/html" }), "localhost"],
    ["an administrator's way", "localhost", answer(400, { error: "invalid_client_metadata" }), "127.0.0.1"],
  ])("%s: registering %s is refused, the login goes on with the other", async (_what, host, refusal, other) => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened } = desktop(url);
    as.intercept(when(mentions(host), refusal));
    expect(await auth.authorize()).toBe("authorized");
    expect(redirectUri(opened[0]).hostname).toBe(other);
    expect(as.registrations.length).toBeLessThanOrEqual(3);
  });

  test.each<[string, "localhost" | "127.0.0.1" | undefined, string]>([
    ["`localhost` is refused only when the user comes: 127.0.0.1 is what is sent", undefined, "127.0.0.1"],
    ["`127.0.0.1` is refused only when the user comes: the option says localhost", "localhost", "localhost"],
  ])("%s", async (_what, redirectHost, host) => {
    const { url } = await startServer();
    const { auth, opened } = desktop(url, { redirectHost });
    expect(await auth.authorize()).toBe("authorized");
    expect(redirectUri(opened[0]).hostname).toBe(host);
  });

  test("refused both: registration_refused names what was asked", async () => {
    const { authorizationServer: as, url } = await startServer();
    const { auth, opened } = desktop(url);
    as.intercept(registers(answer(400, { error: "invalid_redirect_uri", error_description: "only https" })));
    const error = await auth.authorize().catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "registration_refused", serverError: "invalid_redirect_uri", serverDescription: "only https" });
    expect(String(error)).toMatch(/http:\/\/127\.0\.0\.1:\d+\/callback and http:\/\/localhost:\d+\/callback/);
    expect(opened).toEqual([]);
  });
});
