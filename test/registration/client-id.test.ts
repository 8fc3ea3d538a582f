import { describe, expect, test } from "vitest";
import type { AuthorizationServerMetadata } from "../../src/discovery/server-metadata.ts";
import { createHttp } from "../../src/http/http.ts";
import { obtainClient } from "../../src/registration/client-id.ts";
import { checkClientMetadataUrl } from "../../src/registration/client-metadata-url.ts";
import type { ClientRegistration } from "../../src/registration/registration.ts";
import { findRegistration, forgetRegistration, redirectUriOf, saveRegistration } from "../../src/registration/stored.ts";
import { loginLock, markAnswered, markUnanswered } from "../../src/registration/unanswered.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import { eagerClock, failure, recorded, world } from "../discovery/support.ts";

const { asked, serve } = world();
const issuer = "https://as.example";
const serverName = "https://mcp.example/mcp";
const ip = "http://127.0.0.1:5000/callback";
const name = "http://localhost:5000/callback";
const now = eagerClock().now();
const day = 86_400_000;
const login = "default/https://mcp.example/mcp";

const server = (more: Partial<AuthorizationServerMetadata> = {}, of = issuer): AuthorizationServerMetadata => ({
  issuer: of,
  token_endpoint: `${of}/token`,
  registration_endpoint: `${of}/register`,
  ...more,
});
const registers = (clientId = "new", of = issuer) =>
  serve({ [`${of}/register`]: () => Response.json({ client_id: clientId }, { status: 201 }) });
const stored = (more: Partial<ClientRegistration> = {}): ClientRegistration => ({
  issuer,
  kind: "dynamic",
  clientId: "old",
  tokenEndpointAuthMethod: "none",
  redirectUris: [ip, name],
  createdAt: now - day,
  ...more,
});

type Options = Partial<Parameters<typeof obtainClient>[0]>;
const obtain = (options: Options = {}) =>
  obtainClient({
    server: server(),
    store: new MemoryStore(),
    serverName,
    login,
    redirectUris: [ip, name],
    http: createHttp(),
    clock: eagerClock(),
    emit: () => {},
    ...options,
  });

describe("REQ-REG-01 the order", () => {
  const documents = server({ client_id_metadata_document_supported: true });
  const clientMetadataUrl = "https://app.example/client.json";
  test.each<[rule: string, options: Options, kind: string, clientId: string]>([
    ["pre-registered before everything", { clientId: "given", clientMetadataUrl, server: documents }, "pre-registered", "given"],
    ["metadata document before registrations", { clientMetadataUrl, server: documents }, "metadata-document", clientMetadataUrl],
    ["no metadata document where the server does not support it", { clientMetadataUrl }, "dynamic", "old"],
    ["no metadata document where the app has none", { server: documents }, "dynamic", "old"],
    [
      "no metadata document where public clients are not let in",
      { clientMetadataUrl, server: { ...documents, token_endpoint_auth_methods_supported: ["client_secret_post"] } },
      "dynamic",
      "old",
    ],
    [
      "metadata document where `none` is listed",
      { clientMetadataUrl, server: { ...documents, token_endpoint_auth_methods_supported: ["none"] } },
      "metadata-document",
      clientMetadataUrl,
    ],
    [
      "metadata document where there is no other way",
      {
        clientMetadataUrl,
        server: { issuer, client_id_metadata_document_supported: true, token_endpoint_auth_methods_supported: ["client_secret_post"] },
      },
      "metadata-document",
      clientMetadataUrl,
    ],
    ["stored registration before a new one", {}, "dynamic", "old"],
    ["new registration", { store: new MemoryStore() }, "dynamic", "new"],
  ])("%s", async (_, options, kind, clientId) => {
    registers();
    const store = new MemoryStore();
    await saveRegistration(store, stored());
    expect(await obtain({ store, ...options })).toMatchObject({ kind, clientId, issuer });
    expect(asked).toHaveLength(clientId === "new" ? 1 : 0);
  });

  test("no way at all", async () => {
    const nothing = server({ registration_endpoint: undefined as never });
    expect(await failure(obtain({ server: nothing }))).toMatchObject({ code: "registration_unsupported", issuer });
  });

  test("a new registration is stored, and announced without its secret", async () => {
    serve({ [`${issuer}/register`]: () => Response.json({ client_id: "new", client_secret: "s3cret" }, { status: 201 }) });
    const store = new MemoryStore();
    const { events, emit } = recorded();
    const client = await obtain({ store, emit });
    expect(await findRegistration(store, issuer)).toEqual(client);
    expect(await store.keys("")).toEqual([`registrations/${issuer}`]);
    expect(events).toEqual([{ type: "registration.finished", issuer, kind: "dynamic", clientId: "new" }]);
    expect(await obtain({ store, emit })).toEqual(client);
    expect(asked).toHaveLength(1);
  });

  test("a refused registration leaves the stored one as it was", async () => {
    serve({ [`${issuer}/register`]: 401 });
    const store = new MemoryStore();
    const old = stored({ unanswered: login });
    await saveRegistration(store, old);
    await failure(obtain({ store }));
    expect(await findRegistration(store, issuer)).toEqual(old);
  });
});

describe("a client registered beforehand", () => {
  test.each<[given: Options, supported: string[] | undefined, method: string]>([
    [{}, undefined, "none"],
    [{}, ["client_secret_basic"], "none"],
    [{ clientSecret: "s" }, undefined, "client_secret_basic"],
    [{ clientSecret: "s" }, ["client_secret_post", "client_secret_basic"], "client_secret_basic"],
    [{ clientSecret: "s" }, ["client_secret_post"], "client_secret_post"],
    [{ clientSecret: "s" }, ["private_key_jwt"], "client_secret_basic"],
    [{ clientSecret: "s", tokenEndpointAuthMethod: "client_secret_post" }, ["client_secret_basic"], "client_secret_post"],
  ])("%j at a server with %s: %s", async (given, supported, method) => {
    const more = supported && { token_endpoint_auth_methods_supported: supported };
    const client = await obtain({ clientId: "given", ...given, server: server(more) });
    expect(client).toMatchObject({ kind: "pre-registered", tokenEndpointAuthMethod: method, clientSecret: given.clientSecret });
  });

  describe("REQ-REG-06 is never shown to another authorization server", () => {
    const elsewhere = server({}, "https://evil.example");

    test("a configured issuer that differs", async () => {
      const error = await failure(obtain({ clientId: "given", clientSecret: "s3cret", issuer: "https://other.example" }));
      expect(error).toMatchObject({ code: "client_issuer_mismatch", issuer });
      expect(error.message).not.toContain("s3cret");
    });

    test("a configured issuer may lack the final slash after the host", async () => {
      expect(await obtain({ clientId: "given", issuer: `${issuer}/` })).toMatchObject({ clientId: "given" });
    });

    test("the first issuer is remembered where none is configured", async () => {
      const store = new MemoryStore();
      await obtain({ store, clientId: "given" });
      await obtain({ store, clientId: "given" });
      expect((await failure(obtain({ store, clientId: "given", server: elsewhere }))).code).toBe("client_issuer_mismatch");
      // A refusal changes nothing: the right one is still right, the wrong one still wrong.
      await obtain({ store, clientId: "given" });
      expect((await failure(obtain({ store, clientId: "given", server: elsewhere }))).code).toBe("client_issuer_mismatch");
    });

    test("what is remembered already is not written again", async () => {
      const store = new MemoryStore();
      await obtain({ store, clientId: "given" });
      store.set = () => Promise.reject(new Error("read-only disk"));
      expect(await obtain({ store, clientId: "given" })).toMatchObject({ clientId: "given" });
    });

    test("another query is another server; what a former version has bound stays bound for every query", async () => {
      const store = new MemoryStore();
      const other = { store, clientId: "given", server: elsewhere, serverName: `${serverName}?digest` };
      await obtain({ store, clientId: "given" });
      expect(await obtain(other)).toMatchObject({ issuer: elsewhere.issuer });
      expect((await failure(obtain({ ...other, server: server() }))).code).toBe("client_issuer_mismatch");

      const former = new MemoryStore();
      await former.set(`registrations/pre-registered/given/${serverName}`, { v: 1, issuer });
      expect((await failure(obtain({ ...other, store: former }))).code).toBe("client_issuer_mismatch");
      await obtain({ ...other, store: former, server: server() });
      await former.delete(`registrations/pre-registered/given/${serverName}`);
      expect((await failure(obtain({ ...other, store: former }))).code).toBe("client_issuer_mismatch");
    });

    test("the same ID at another protected server is another client", async () => {
      const store = new MemoryStore();
      await obtain({ store, clientId: "mcp" });
      const other = { store, clientId: "mcp", serverName: "https://other.example/mcp", server: server({}, "https://as2.example") };
      expect(await obtain(other)).toMatchObject({ issuer: "https://as2.example" });
    });

    test("a new ID, or a configured issuer, follows the server to its new authorization server", async () => {
      const store = new MemoryStore();
      const moved = server({}, "https://as2.example");
      await obtain({ store, clientId: "given" });
      expect(await obtain({ store, clientId: "new", server: moved })).toMatchObject({ clientId: "new" });
      expect(await obtain({ store, clientId: "given", server: moved, issuer: "https://as2.example" })).toMatchObject({ clientId: "given" });
      expect((await failure(obtain({ store, clientId: "given" }))).code).toBe("client_issuer_mismatch");
    });

    test("a newer record is not overwritten", async () => {
      const store = new MemoryStore();
      await obtain({ store, clientId: "given" });
      const [key = ""] = await store.keys("");
      await store.set(key, { v: 2, issuers: [issuer] });
      expect((await failure(obtain({ store, clientId: "given" }))).code).toBe("invalid_record");
      expect(await store.get(key)).toEqual({ v: 2, issuers: [issuer] });
    });

    test("a dynamic registration of one issuer is unknown to the next: registered anew", async () => {
      registers("one");
      registers("two", "https://as2.example");
      const store = new MemoryStore();
      expect(await obtain({ store })).toMatchObject({ clientId: "one" });
      expect(await obtain({ store, server: server({}, "https://as2.example") })).toMatchObject({ clientId: "two" });
      expect(await obtain({ store })).toMatchObject({ clientId: "one" });
    });
  });
});

describe("where a registration goes stale", () => {
  test.each<[rule: string, more: Partial<ClientRegistration>, redirectUris: string[], reason: string | undefined]>([
    ["as registered", {}, [ip, name], undefined],
    ["one of both, because the server refused the other", { redirectUris: [name] }, [ip, name], undefined],
    ["Second login fails: stored registration has another port (mcp-remote #72)", {}, ["http://127.0.0.1:6000/callback"], "redirect-uri"],
    ["another path", {}, ["http://127.0.0.1:5000/cb"], "redirect-uri"],
    ["a secret that has expired", { clientSecret: "s", clientSecretExpiresAt: now - 1 }, [ip], "expired"],
    ["a secret that expires within a minute", { clientSecret: "s", clientSecretExpiresAt: now + 60_000 }, [ip], "expired"],
    ["a secret that expires later", { clientSecret: "s", clientSecretExpiresAt: now + 60_001 }, [ip], undefined],
    ["Server forgot the dynamic registration, no answer came (chatcli #1308)", { unanswered: login }, [ip], "unanswered"],
    ["… in a login of another server or account, which is over", { unanswered: "b/https://b.example" }, [ip], "unanswered"],
    ["… as earlier versions noted it", { unanswered: true as unknown as string }, [ip], "unanswered"],
    ["30 days old", { createdAt: now - 30 * day }, [ip], undefined],
    ["older", { createdAt: now - 30 * day - 1 }, [ip], "old"],
  ])("%s", async (_, more, redirectUris, reason) => {
    registers();
    const store = new MemoryStore();
    await saveRegistration(store, stored(more));
    const { events, emit } = recorded();
    const client = await obtain({ store, redirectUris, emit });
    expect(client.clientId).toBe(reason ? "new" : "old");
    expect(events.filter(({ type }) => type === "registration.stale")).toEqual(
      reason ? [{ type: "registration.stale", issuer, reason }] : [],
    );
    expect(await findRegistration(store, issuer)).toEqual(client);
  });

  test.each<[rule: string, had: string[] | undefined, needed: string[] | undefined, registered: string[] | undefined]>([
    ["one that it was not asked for: anew", undefined, ["device"], ["device"]],
    ["one that it was asked for, whatever the answer", ["device"], ["device"], undefined],
    ["who needs none is content with more", ["device"], undefined, undefined],
    ["what it could do before it can do again", ["device"], ["other"], ["device", "other"]],
  ])("grants beside the usual ones: %s", async (_, had, needed, registered) => {
    const sent: unknown[] = [];
    serve({
      [`${issuer}/register`]: async (request) => {
        sent.push(((await request.json()) as { grant_types: unknown }).grant_types);
        return Response.json({ client_id: "new" }, { status: 201 });
      },
    });
    const store = new MemoryStore();
    await saveRegistration(store, stored({ grantTypes: had }));
    const { events, emit } = recorded();
    const client = await obtain({ store, grantTypes: needed, emit });
    expect(client.grantTypes).toEqual(registered ?? had);
    expect(sent).toEqual(registered ? [["authorization_code", "refresh_token", ...registered]] : []);
    expect(events.filter(({ type }) => type === "registration.stale")).toEqual(
      registered ? [{ type: "registration.stale", issuer, reason: "grant-type" }] : [],
    );
  });

  test.each<[rule: string, had: string[] | undefined, options: Options, registered: string | undefined]>([
    ["one that it was not registered with: anew, with all", ["a"], { scopes: ["b"] }, "a b"],
    ["fewer", ["a", "b"], { scopes: ["b"] }, undefined],
    ["none", ["a"], {}, undefined],
    ["none: anew", [], { scopes: ["b"] }, "b"],
    ["the server lets no client name any", undefined, { scopes: ["b"] }, undefined],
    [
      "one that the server does not list cannot be registered",
      ["a"],
      { scopes: ["a", "x"], server: server({ scopes_supported: ["a"] }) },
      undefined,
    ],
    ["the app says what is registered", ["a"], { scopes: ["b"], clientMetadata: { scope: "a" } }, undefined],
  ])("scopes: %s", async (_, had, options, registered) => {
    const sent: unknown[] = [];
    serve({
      [`${issuer}/register`]: async (request) => {
        sent.push(((await request.json()) as { scope: unknown }).scope);
        return Response.json({ client_id: "new" }, { status: 201 });
      },
    });
    const store = new MemoryStore();
    await saveRegistration(store, stored({ scopes: had }));
    const { events, emit } = recorded();
    await obtain({ store, emit, ...options });
    expect(sent).toEqual(registered ? [registered] : []);
    expect(events.filter(({ type }) => type === "registration.stale")).toEqual(
      registered ? [{ type: "registration.stale", issuer, reason: "scope" }] : [],
    );
    if (registered) expect((await findRegistration(store, issuer))?.scopes).toEqual(registered.split(" "));
  });

  test.each<[registered: string[] | undefined, ours: string[], sent: string | undefined]>([
    [[ip, name], [ip, name], ip],
    [[ip, name], [name, ip], name],
    [[name], [ip, name], name],
    [undefined, [ip], ip],
    [[ip], [name], undefined],
  ])("registered %s, received at %s: %s is sent", (redirectUris, ours, sent) => {
    expect(redirectUriOf(stored({ redirectUris }), ours)).toBe(sent);
  });
});

describe("stored registrations", () => {
  const having = async (more: Partial<ClientRegistration> = {}) => {
    const store = new MemoryStore();
    await saveRegistration(store, stored(more));
    return store;
  };

  test("only what was refused is forgotten (compare, then delete)", async () => {
    const store = await having();
    await forgetRegistration(store, issuer, "another");
    expect(await findRegistration(store, issuer)).toMatchObject({ clientId: "old" });
    await forgetRegistration(store, issuer, "old");
    expect(await findRegistration(store, issuer)).toBeUndefined();
    await forgetRegistration(store, issuer, "old");
  });

  test("unanswered is marked, of this client only", async () => {
    const store = await having();
    const mark = async () => (await findRegistration(store, issuer))?.unanswered ?? false;
    await markUnanswered(store, stored({ clientId: "another" }), login);
    expect(await mark()).toBe(false);
    await markUnanswered(store, stored(), login);
    expect(await mark()).toBe(login);
    await markUnanswered(new MemoryStore(), stored(), login);
  });

  test("an answer takes the note away, but not that of another login", async () => {
    const store = await having({ unanswered: login });
    await markAnswered(store, stored(), "b/https://b.example");
    expect(await findRegistration(store, issuer)).toEqual(stored({ unanswered: login }));
    await markAnswered(store, stored(), login);
    expect(await findRegistration(store, issuer)).toEqual(stored());
  });

  test("a login of another server that still waits for its answer: the registration is used", async () => {
    const other = "b/https://b.example";
    const store = await having({ unanswered: other });
    await store.withLock(loginLock(other), async () => {
      expect((await obtain({ store })).clientId).toBe("old");
    });
    registers();
    expect((await obtain({ store })).clientId).toBe("new");
  });

  test("a registration that replaces another while that is being marked stays", async () => {
    const store = await having();
    const get = store.get.bind(store);
    let replaced: Promise<void> | undefined;
    store.get = async (key) => {
      const record = await get(key);
      replaced ??= saveRegistration(store, stored({ clientId: "new" }));
      return record;
    };
    await markUnanswered(store, stored(), login);
    await replaced;
    expect(await findRegistration(store, issuer)).toEqual(stored({ clientId: "new" }));
  });

  test("a newer record is invalid_record, and not overwritten", async () => {
    const store = await having();
    const key = `registrations/${issuer}`;
    await store.set(key, { v: 2 });
    for (const use of [
      () => findRegistration(store, issuer),
      () => obtain({ store }),
      () => forgetRegistration(store, issuer, "old"),
      () => markUnanswered(store, stored(), login),
    ]) {
      expect((await failure(use())).code).toBe("invalid_record");
    }
    expect(await store.get(key)).toEqual({ v: 2 });
    expect(asked).toEqual([]);
  });

  test.each<[rule: string, change: Record<string, unknown>]>([
    ["no client ID", { clientId: undefined }],
    ["another issuer", { issuer: "https://evil.example" }],
    ["no time", { createdAt: "yesterday" }],
    ["no method", { tokenEndpointAuthMethod: undefined }],
    ["no version", { v: 0 }],
  ])("a damaged record is none: %s", async (_, change) => {
    const store = new MemoryStore();
    await store.set(`registrations/${issuer}`, { v: 1, ...stored(), ...change });
    expect(await findRegistration(store, issuer)).toBeUndefined();
  });
});

describe("REQ-REG-02 the URL of a client ID metadata document", () => {
  test.each([
    ["https://app.example/client.json", true],
    ["https://app.example/a/b?v=1", true],
    ["https://app.example:8443/client", true],
    ["https://app.example/.well-known/client", true],
    ["https://app.example/a..b/c", true],
    ["https://app.example", false],
    ["https://app.example/", false],
    ["https://app.example/?a", false],
    ["https://app.example/client#x", false],
    ["https://app.example/client#", false],
    ["https://user@app.example/client", false],
    ["https://user:pw@app.example/client", false],
    ["https://app.example/a/../client", false],
    ["https://app.example/./client", false],
    ["https://app.example/a/%2E%2e/client", false],
    ["https://app.example/a/..", false],
    ["http://app.example/client", false],
    ["http://127.0.0.1/client", false],
    ["client.json", false],
  ])("%s: %s", async (url, valid) => {
    if (valid) expect(() => checkClientMetadataUrl(url)).not.toThrow();
    else {
      expect(() => checkClientMetadataUrl(url)).toThrow(expect.objectContaining({ code: "invalid_option" }));
      // Also where this server would not need it: the app is wrong everywhere.
      expect((await failure(obtain({ clientMetadataUrl: url }))).code).toBe("invalid_option");
      expect(asked).toEqual([]);
    }
  });
});
