/** Options of hosted logins: what cannot be is refused where it is passed, named, and not shown. */
import { describe, expect, test } from "vitest";
import {
  type BeginAuthorization,
  type ClientMetadataDocumentOptions,
  clientMetadataDocument,
  clientMetadataHandler,
  type FinishAuthorization,
  type HostedHandlersOptions,
  HostedLogin,
  type HostedLoginOptions,
  hostedHandlers,
  type NodeHandlerOptions,
  nodeHandler,
} from "../../src/hosted/index.ts";
import { MemoryStore } from "../../src/index.ts";
import { describeOptions, endOf, refusal } from "../option-table.ts";
import { redirectUri } from "./support.ts";

const offline = async () => {
  throw new Error("passed the door");
};
const store = new MemoryStore();
const logins = new HostedLogin({ store, redirectUri, fetch: offline });
const serverUrl = "https://mcp.example/mcp";

const text = ["", 1, null, {}] as const;
const flag = ["true", 0, null] as const;
const callback = ["x", {}, null] as const;
const texts = ["a", [1], [""], {}] as const;
const scopes = ["read write", ["read write"], [""], [1]] as const;
const timeouts = [0, -1, Number.NaN, "1000"] as const;
const url = ["", 1, null, {}] as const;
const redirectUris = ["", 1, "app.example", "http://app.example/callback", "https://app.example/callback#a", "acme:callback"] as const;

describeOptions<HostedLoginOptions>({
  name: "HostedLogin",
  call: (options) => new HostedLogin(options),
  needed: { store, redirectUri },
  bad: {
    store: ["file", {}, null],
    redirectUri: redirectUris,
    loginTimeout: timeouts,
    serverOptions: callback,
    clientName: text,
    clientMetadata: ["{}", [], null],
    clientId: text,
    clientSecret: text,
    privateKey: ["", 1, [], null],
    keyId: text,
    tokenEndpointAuthMethod: ["private_key_jwt", 1],
    clientMetadataUrl: text,
    scopes,
    issuer: text,
    issuerAlias: ["https://a", {}, { expected: "a", found: "a" }],
    strictIssuer: flag,
    authorizationEndpoint: text,
    tokenEndpoint: text,
    metadataUrl: text,
    assumePkce: texts,
    chooseAuthorizationServer: callback,
    speculate: flag,
    authorizationParameters: ["a=b", [], { a: 1 }],
    resourceParameter: flag,
    fetch: callback,
    requestTimeout: timeouts,
    maxTokenRequests: [0, -1, 1.5, "16"],
    allowInsecure: texts,
    onEvent: callback,
    clock: [Date, { now: Date.now }, null],
  },
  idle: [
    [
      ["clientMetadata", "clientId"],
      ["clientMetadataUrl", "clientId"],
      ["clientSecret", "privateKey"],
      ["tokenEndpointAuthMethod", "privateKey"],
      ["metadataUrl", "authorizationEndpoint"],
    ],
    {
      clientId: "a",
      clientMetadata: {},
      clientMetadataUrl: "https://a.example/b",
      clientSecret: "a",
      privateKey: { kty: "EC" },
      tokenEndpointAuthMethod: "none",
      metadataUrl: "https://a.example/m",
      authorizationEndpoint: "https://a.example/a",
    },
  ],
});

describeOptions<BeginAuthorization>({
  name: "HostedLogin.beginAuthorization",
  call: (options) => logins.beginAuthorization(options),
  needed: { serverUrl, account: "ann" },
  bad: { serverUrl: url, account: text, returnTo: text, scopes, signal: [{ aborted: false }, 1] },
});

describeOptions<FinishAuthorization>({
  name: "HostedLogin.finishAuthorization",
  call: (options) => logins.finishAuthorization(`${redirectUri}?state=a&code=b`, options),
  needed: {},
  bad: { binding: text, account: text },
});

describeOptions<Parameters<HostedLogin["logout"]>[0]>({
  name: "HostedLogin.logout",
  call: (options) => logins.logout(options),
  needed: { serverUrl, account: "ann" },
  bad: { serverUrl: url, account: text },
});

describeOptions<HostedHandlersOptions>({
  name: "hostedHandlers",
  call: (options) => hostedHandlers(options),
  needed: { logins, account: () => undefined, serverUrl: () => undefined },
  bad: {
    logins: [{}, HostedLogin, null],
    account: ["ann", {}],
    serverUrl: [serverUrl, {}],
    scopes: [["a"]],
    onError: [{}],
  },
});

describeOptions<NodeHandlerOptions>({
  name: "nodeHandler",
  call: (options) => nodeHandler(async () => new Response(), options),
  needed: { baseUrl: "https://app.example" },
  bad: { baseUrl: url },
});

describeOptions<ClientMetadataDocumentOptions>({
  name: "clientMetadataDocument",
  call: (options) => clientMetadataDocument(options),
  needed: { clientMetadataUrl: "https://app.example/client.json", clientName: "Acme", redirectUris: [redirectUri] },
  bad: { clientMetadataUrl: text, clientName: text, redirectUris: texts, jwks: ["{}", []], jwksUri: text, clientMetadata: ["{}", []] },
});

describe("what is passed beside options", () => {
  test.each<[what: string, call: () => unknown, name: string]>([
    ["a response that is a number", () => logins.finishAuthorization(1 as never), "response"],
    ["… that cannot be parsed", () => logins.finishAuthorization("https://["), "response"],
    ["a handler that is none", () => nodeHandler({} as never, { baseUrl: "https://app.example" }), "handler"],
    ["a base URL that cannot be parsed", () => nodeHandler(async () => new Response(), { baseUrl: "app.example" }), "baseUrl"],
    ["a document that is text", () => clientMetadataHandler("{}" as never), "document"],
    ["an account with a slash", () => logins.beginAuthorization({ serverUrl, account: "a/b" }), "account"],
  ])("%s", async (_what, call, name) => {
    expect(await endOf(call)).toMatchObject(refusal(`\`${name}\``));
  });

  test("options of one server are checked when it is used", async () => {
    const serverOptions = () => ({ clientID: "a" }) as never;
    const wrong = new HostedLogin({ store, redirectUri, fetch: offline, serverOptions });
    expect(await endOf(() => wrong.beginAuthorization({ serverUrl, account: "ann" }))).toMatchObject(
      refusal("`clientID` is not an option"),
    );
  });
});
