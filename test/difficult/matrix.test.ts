/** Difficult servers, trait by trait and in the pairs in which real ones have them, through the life of a login. */
import { describe, expect, test } from "vitest";
import type { TokenManagerOptions } from "../../src/index.ts";
import { type ProtectedServer, type TraitName, traits } from "../fixture/index.ts";
import { failure, minutes, tally } from "../storm/support.ts";
import { add, type End, expectWhole, sharedServer, stage } from "./support.ts";

const shared = sharedServer();

type Options = (server: ProtectedServer) => Partial<TokenManagerOptions>;
interface Whole {
  traits: TraitName[];
  end?: End;
  options?: Options;
}

const assumingPkce: Options = ({ authorizationServer }) => ({ assumePkce: [authorizationServer.issuer] });

const documentUrl = "https://app.example/client.json";
const withDocument: Options = ({ authorizationServer }) => {
  const [redirect_uris, grant_types] = [["http://127.0.0.1:1/callback"], ["authorization_code", "refresh_token"]];
  const client = { client_id: documentUrl, client_name: "App", application_type: "native", token_endpoint_auth_method: "none" };
  authorizationServer.clientMetadataDocuments = { [documentUrl]: { ...client, redirect_uris, grant_types } };
  return { clientMetadataUrl: documentUrl };
};

/** With these everything works. */
const alone: Whole[] = [
  { traits: [] },
  { traits: ["s256-not-listed"], options: assumingPkce },
  { traits: ["none-not-listed"] },
  { traits: ["client-secret-post-only"] },
  { traits: ["metadata-documents-without-none"], options: withDocument },
  { traits: ["first-metadata-incomplete"] },
  { traits: ["first-metadata-without-s256"] },
  { traits: ["first-server-incomplete"] },
  { traits: ["first-place-locked"] },
  { traits: ["unneeded-endpoints-empty"] },
  { traits: ["unneeded-endpoints-relative"] },
  { traits: ["unneeded-endpoints-http"] },
  { traits: ["scopes-must-be-registered"] },
  { traits: ["registration-refuses-unknown-scopes"] },
  { traits: ["registration-forbids-scopes"] },
  { traits: ["challenge-url-dead"] },
  { traits: ["challenge-url-relative"] },
  { traits: ["challenge-url-http"] },
  { traits: ["challenge-url-401"] },
  { traits: ["challenge-url-html"] },
  { traits: ["challenge-url-other-json"] },
  { traits: ["challenge-of-another-scheme"] },
  { traits: ["refused-told-400"], end: "revoked" },
  { traits: ["refused-told-403"], end: "revoked" },
  { traits: ["refused-told-insufficient-scope"], end: "revoked" },
  { traits: ["refused-told-redirect"], end: "revoked" },
  { traits: ["refused-told-foreign-redirect"], end: "revoked" },
  { traits: ["refused-told-page"], end: "revoked" },
  { traits: ["no-expires-in"], end: "revoked" },
  { traits: ["slow-12-s"] },
  { traits: ["slow-25-s"] },
  { traits: ["fresh-token-refused"] },
];

/** What real servers have together. */
const pairs: (Whole & { like: string })[] = [
  { like: "Amazon Cognito", traits: ["s256-not-listed", "slow-12-s"], options: assumingPkce },
  { like: "FastMCP", traits: ["none-not-listed", "scopes-must-be-registered"] },
  { like: "Miro", traits: ["none-not-listed", "registration-refuses-unknown-scopes"] },
  { like: "opencode's users", traits: ["metadata-documents-without-none", "scopes-must-be-registered"], options: withDocument },
  { like: "Cloudflare Access", traits: ["challenge-of-another-scheme", "refused-told-foreign-redirect"], end: "revoked" },
  { like: "behind a proxy that ends TLS", traits: ["challenge-url-http", "unneeded-endpoints-http"] },
  { like: "Envoy AI gateway", traits: ["challenge-url-dead", "unneeded-endpoints-empty"] },
  { like: "Retool", traits: ["first-place-locked", "first-metadata-incomplete"] },
  { like: "neotoma", traits: ["challenge-url-401", "first-server-incomplete"] },
  {
    like: "Microsoft Entra ID behind a gateway",
    traits: ["s256-not-listed", "first-metadata-incomplete", "refused-told-403"],
    end: "revoked",
    options: assumingPkce,
  },
  { like: "Keycloak behind a gateway", traits: ["registration-forbids-scopes", "challenge-url-dead"] },
  { like: "gitbook", traits: ["challenge-url-relative", "refused-told-redirect"], end: "revoked" },
  { like: "mcp-handler", traits: ["refused-told-insufficient-scope", "no-expires-in"], end: "revoked" },
  { like: "exa", traits: ["no-expires-in", "fresh-token-refused"], end: "revoked" },
  { like: "Canny", traits: ["client-secret-post-only", "scopes-must-be-registered"] },
];

const run = async ({ traits, end = "expired", options }: Whole) => {
  const server = shared.get(traits);
  await expectWhole(server, traits, end, options?.(server) ?? {});
};

describe("one window, one refresh an expiry, a second process without a window, a logout that ends it", () => {
  test.each(alone.map((row) => [row.traits.join() || "a server that goes by the book", row] as const))("%s", (_name, row) => run(row));
  test.each(pairs.map((row) => [`${row.like}: ${row.traits.join(" + ")}`, row] as const))("%s", (_name, row) => run(row));
});

test("metadata-documents-refused: registers in the same login, once; the user is sent a second time", async () => {
  const server = shared.get(["metadata-documents-refused"]);
  const { as, attended, unattended, user, end, refreshes } = stage(server, ["metadata-documents-refused"], withDocument(server));
  await attended().authorize();
  expect([user.opened, as.registrations.length]).toEqual([2, 1]);
  end("expired");
  const other = unattended();
  expect(await tally(Array.from({ length: 50 }, () => add(other)))).toEqual({ 3: 50 });
  expect([user.opened, as.registrations.length, refreshes()]).toEqual([2, 1, 1]);
});

/** Logins that must not succeed. */
const impossible: [TraitName[], code: string, told: RegExp][] = [
  [["s256-not-listed"], "pkce_unsupported", /assumePkce/],
  [["token-type-of-its-own"], "invalid_token_response", /token_type|type/],
];
describe("what must not succeed has its code, and says what is wrong", () => {
  test.each(impossible)("%s: %s", async (names, code, told) => {
    const { attended, unattended, user } = stage(shared.get(names), names);
    const error = await failure(attended().authorize());
    expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringMatching(told)]);
    expect(user.opened).toBeLessThanOrEqual(1);
    const [later] = Object.keys(await tally([add(unattended())]));
    expect([code, "login_required"]).toContain(later);
  });
});

describe("a login whose refresh token is dead: one refresh, then the user is asked once", () => {
  const dead: TraitName[] = [
    "dead-refresh-invalid-request",
    "dead-refresh-unauthorized-client",
    "dead-refresh-200",
    "dead-refresh-invalid-token",
    "dead-refresh-empty",
  ];
  test.each(dead)("%s", async (name) => {
    const { as, attended, unattended, user, end, refreshes } = stage(shared.get([name]), [name]);
    const auth = attended();
    await auth.authorize();
    as.endLogins();
    end("expired");
    expect(await tally(Array.from({ length: 50 }, () => add(auth)))).toEqual({ 3: 50 });
    expect([user.opened, refreshes()]).toEqual([2, 1]);
    expect(await add(unattended())).toBe("3");
    expect(await auth.logout()).toMatchObject({ wasLoggedIn: true });
  });

  test("dead-refresh-500: `server_error`, in whatever process; the third over two minutes asks the user", async () => {
    const { as, attended, unattended, user, end, clock } = stage(shared.get(["dead-refresh-500"]), ["dead-refresh-500"]);
    await attended().authorize();
    as.endLogins();
    end("expired");
    for (const program of [attended, unattended]) {
      expect(await tally([add(program())])).toEqual({ server_error: 1 });
      clock.shift(minutes(1.5));
    }
    expect(user.opened).toBe(1);
    expect([await add(attended()), user.opened]).toEqual(["3", 2]);
  });
});

describe("a registration that the server forgot is replaced at the next login at the latest", () => {
  const forgotten: TraitName[] = ["forgotten-invalid-client", "forgotten-unauthorized-client", "forgotten-error-page"];
  test.each(forgotten)("%s, at a refresh", async (name) => {
    const { as, attended, user, end } = stage(shared.get([name]), [name]);
    const auth = attended();
    await auth.authorize();
    as.forgetClients();
    end("expired");
    expect([await add(auth), user.opened, as.registrations.length]).toEqual(["3", 2, 2]);
  });

  test.each(forgotten)("%s, at another user's login", async (name) => {
    const { as, attended } = stage(shared.get([name]), [name]);
    await attended({ account: "alice" }).authorize();
    as.forgetClients();
    const bob = attended({ account: "bob" });
    await bob.authorize().catch(() => {});
    await bob.dispose();
    const later = attended({ account: "bob" });
    await later.authorize();
    expect([await add(later), as.registrations.length]).toEqual(["3", 2]);
  });
});

test("every trait is in the matrix", () => {
  const listed = [...alone, ...pairs].flatMap((row) => row.traits).concat(impossible.flatMap(([names]) => names));
  const elsewhere = Object.keys(traits).filter((name) =>
    /^(dead-refresh|forgotten)-|^(resources-by-query|answers-without-state|metadata-documents-refused)$/.test(name),
  );
  expect(new Set([...listed, ...elsewhere])).toEqual(new Set(Object.keys(traits)));
});
