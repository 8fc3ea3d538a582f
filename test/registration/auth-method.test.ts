/** A way to authenticate that nobody has confirmed is followed by the next, once; what worked is kept. */
import { describe, expect, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../../src/errors.ts";
import { keepAuthMethod, withAuthMethod } from "../../src/registration/auth-method.ts";
import type { ClientRegistration } from "../../src/registration/registration.ts";
import { findRegistration, saveRegistration } from "../../src/registration/stored.ts";
import { MemoryStore } from "../../src/stores/memory.ts";

const issuer = "https://as.example";
const dynamic: ClientRegistration = {
  issuer,
  kind: "dynamic",
  clientId: "c",
  clientSecret: "s",
  tokenEndpointAuthMethod: "client_secret_basic",
  createdAt: 1,
};
const assumed = (method: ClientRegistration["tokenEndpointAuthMethod"], more: Partial<ClientRegistration> = {}): ClientRegistration => ({
  ...dynamic,
  tokenEndpointAuthMethod: method,
  authMethodIsAssumed: true,
  ...more,
});
const refusal = (code: McpAuthErrorCode, serverError?: string) => new McpAuthError(code, { issuer, status: 401, serverError });
const shown = ({ tokenEndpointAuthMethod, clientIdInBody }: ClientRegistration) =>
  tokenEndpointAuthMethod.replace("client_secret_", "") + (clientIdInBody ? " with ID" : "");

/** Sends by a server that takes one way only. */
async function sent(client: ClientRegistration, takes: string | undefined, error = refusal("invalid_client")) {
  const ways: string[] = [];
  const outcome = await withAuthMethod(client, async (identity) => {
    ways.push(shown(identity));
    if (shown(identity) !== takes) throw error;
    return "tokens";
  }).catch((thrown: unknown) => thrown);
  return { ways, outcome };
}

describe("which ways are tried", () => {
  test.each<[rule: string, client: ClientRegistration, takes: string | undefined, ways: string[]]>([
    ["the first works", assumed("client_secret_basic"), "basic", ["basic"]],
    ["assumed Basic, then post", assumed("client_secret_basic"), "post", ["basic", "post"]],
    ["assumed post, then Basic", assumed("client_secret_post"), "basic", ["post", "basic"]],
    ["a secret that need not be used, then post", assumed("none"), "post", ["none", "post"]],
    [
      "a given secret, whose method the app does not say",
      assumed("client_secret_basic", { kind: "pre-registered" }),
      "post",
      ["basic", "post"],
    ],
    ["neither works: twice, no more", assumed("client_secret_basic"), undefined, ["basic", "post"]],
    ["Basic, as registered: with the ID in the body", dynamic, "basic with ID", ["basic", "basic with ID"]],
    ["the same, when it is known already", { ...dynamic, clientIdInBody: true }, "basic with ID", ["basic with ID"]],
    ["Basic, as the app says", { ...dynamic, kind: "pre-registered" }, undefined, ["basic"]],
    ["post, as registered", { ...dynamic, tokenEndpointAuthMethod: "client_secret_post" }, undefined, ["post"]],
    ["no secret", { ...assumed("none"), clientSecret: undefined }, undefined, ["none"]],
  ])("%s", async (_, client, takes, ways) => {
    const found = await sent(client, takes);
    expect(found.ways).toEqual(ways);
    if (takes) expect(found.outcome).toEqual({ answer: "tokens", client: expect.not.objectContaining({ authMethodIsAssumed: true }) });
    else expect(found.outcome).toMatchObject({ code: "invalid_client" });
  });

  test.each<[error: McpAuthError, tries: number]>([
    [refusal("invalid_client"), 2],
    [refusal("token_request_refused", "unauthorized_client"), 2],
    [refusal("token_request_refused", "invalid_request"), 1],
    [refusal("invalid_grant"), 1],
    [refusal("server_error"), 1],
  ])("$code $serverError", async (error, tries) => {
    const { ways, outcome } = await sent(assumed("client_secret_basic"), undefined, error);
    expect([ways.length, outcome]).toEqual([tries, error]);
  });

  test("another failure of the second way is what counts", async () => {
    const busy = refusal("server_error");
    const outcome = await withAuthMethod(assumed("client_secret_basic"), async (client) => {
      throw client.tokenEndpointAuthMethod === "client_secret_post" ? busy : refusal("invalid_client");
    }).catch((error: unknown) => error);
    expect(outcome).toBe(busy);
  });
});

describe("what worked is kept with the registration", () => {
  test.each<[rule: string, before: ClientRegistration, worked: ClientRegistration, kept: Partial<ClientRegistration>]>([
    [
      "the second method",
      assumed("client_secret_basic"),
      { ...dynamic, tokenEndpointAuthMethod: "client_secret_post" },
      { tokenEndpointAuthMethod: "client_secret_post" },
    ],
    ["the first, which is confirmed now", assumed("client_secret_basic"), dynamic, { tokenEndpointAuthMethod: "client_secret_basic" }],
    ["the ID in the body", dynamic, { ...dynamic, clientIdInBody: true }, { clientIdInBody: true }],
  ])("%s", async (_, before, worked, kept) => {
    const store = new MemoryStore();
    await saveRegistration(store, before);
    await keepAuthMethod(store, before, worked);
    const { authMethodIsAssumed: __, ...confirmed } = before;
    expect(await findRegistration(store, issuer)).toEqual({ ...confirmed, ...kept });
  });

  test("nothing is written where nothing is new, or another client is stored", async () => {
    const store = new MemoryStore();
    await keepAuthMethod(store, assumed("client_secret_basic"), dynamic);
    expect(await store.keys("")).toEqual([]);
    await saveRegistration(store, { ...dynamic, clientId: "another" });
    await keepAuthMethod(store, assumed("client_secret_basic"), dynamic);
    expect(await findRegistration(store, issuer)).toMatchObject({ clientId: "another" });
  });
});
