/** A real Secret Service, asked through real `keytar` and real `@napi-rs/keyring`. */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { libraries } from "../../../../src/node/stores/keychain/keychain.ts";
import { KeychainStore } from "../../../../src/node/stores/keychain/store.ts";
import { storeContract } from "../../../stores/contract-suite.ts";
import { contract } from "../../../stores/store-contract.ts";
import { hasSecretService, run, type SecretService, secretService, start, temporaryFolder } from "./support.ts";

interface Key {
  kid: string;
  place: string;
}
interface Failure {
  code: string;
  cause?: string;
}

/** A service of the test's own: what happens to it happens to no other test. */
async function session() {
  const folder = await temporaryFolder();
  const service = await secretService();
  onTestFinished(() => service.stop());
  return { folder, service, inSession: { DBUS_SESSION_BUS_ADDRESS: service.address } };
}

describe.runIf(hasSecretService)("Secret Service", () => {
  // Libraries of this process keep their connection: one service for all that it does itself.
  let own: SecretService;
  beforeAll(async () => {
    own = await secretService();
    process.env.DBUS_SESSION_BUS_ADDRESS = own.address;
  });
  afterAll(() => own.stop());

  describe.each(["keytar", "@napi-rs/keyring"] as const)("through %s", (library) => {
    // The other one is not installed there.
    const without = Object.keys(libraries).filter((name) => name !== library);

    storeContract(`keychain, ${library}`, async () => {
      const folder = await temporaryFolder();
      const keychain = await libraries[library]();
      return { open: async () => new KeychainStore({ app: "acme", folder, keychain, keychainTimeout: 20_000, fallback: "error" }) };
    });

    test("the first key lives there; an SSH session gets keychain_locked, not a second key", async () => {
      const { folder, inSession } = await session();
      const first = await run<Key>({ what: "key", folder, without }, inSession);
      expect(first).toMatchObject({ place: "keychain" });
      expect(await run<Key>({ what: "key", folder, without }, inSession)).toEqual(first);
      expect(await run<Failure>({ what: "key", folder, without })).toMatchObject({
        code: "keychain_locked",
        cause: "keychain_unavailable",
      });
      const off = { ...inSession, MCP_AUTH_KEYCHAIN: "off" };
      expect(await run<Failure>({ what: "key", folder, without }, off)).toMatchObject({ code: "keychain_locked" });
      expect(readdirSync(join(folder, "acme")).sort()).toEqual(["keychain.json", "locks"]);
    });

    test("a locked keyring is neither an empty one nor a reason for a second key", async () => {
      const { folder, service, inSession } = await session();
      await run({ what: "key", folder, without }, inSession);
      await run({ what: "store", folder, without, set: "kept" }, inSession);
      await service.lock();
      expect(await run<Failure>({ what: "key", folder, without }, inSession)).toMatchObject({ code: "keychain_locked" });
      expect(await run<Failure>({ what: "store", folder, without }, inSession)).toMatchObject({ code: "keychain_locked" });
      expect(await run<Failure>({ what: "store", folder, without, set: "new" }, inSession)).toMatchObject({ code: "keychain_locked" });
      expect(await run<Failure>({ what: "sqlite", folder, without, set: "new" }, inSession)).toMatchObject({ code: "keychain_locked" });
    });

    test("locked before anything was kept there: a key file", async () => {
      const { folder, service, inSession } = await session();
      await service.lock();
      expect(await run<Key>({ what: "key", folder, without }, inSession)).toMatchObject({ place: "file" });
      expect(await run({ what: "store", folder, without, set: "x" }, inSession)).toMatchObject({
        text: "x",
        status: { kind: "sqlite", key: "file" },
      });
    });

    test("no D-Bus: a key file, and the app is told", async () => {
      const folder = await temporaryFolder();
      expect(await run({ what: "sqlite", folder, without, set: "x" })).toMatchObject({
        text: "x",
        status: { kind: "sqlite", key: "file" },
      });
      expect(await run({ what: "store", folder, without, set: "x" })).toMatchObject({ text: "x", status: { kind: "sqlite", key: "file" } });
      const refused = await run<Failure>({ what: "store", folder: await temporaryFolder(), without, set: "x", fallback: "error" });
      expect(refused).toMatchObject({ code: "keychain_unavailable" });
    });

    test("a service that does not answer is given up within the bound", async () => {
      const { folder, service, inSession } = await session();
      const first = await run<Key>({ what: "key", folder, without }, inSession);
      await service.freeze();
      // Its output comes while nothing is answered. Its end has to wait: the library's own call goes on.
      const thaw = () => void service.thaw();
      const failure = await run<Failure>({ what: "key", folder, without, keychainTimeout: 300 }, inSession, thaw);
      expect(failure).toMatchObject({ code: "keychain_locked", cause: "keychain_timeout" });
      expect(await run<Key>({ what: "key", folder, without }, inSession)).toEqual(first);
    });

    test("two processes that start for the first time together end with one key", async () => {
      const { folder, inSession } = await session();
      const keys = await Promise.all(Array.from({ length: 4 }, () => run<Key>({ what: "key", folder, without }, inSession)));
      expect(keys[0]).toMatchObject({ place: "keychain" });
      for (const key of keys) expect(key).toEqual(keys[0]);
    });

    test("8 processes lose no update", async () => {
      const folder = await temporaryFolder();
      const inSession = { DBUS_SESSION_BUS_ADDRESS: own.address };
      const increments = { what: "increments", folder, without, times: 5, keychainTimeout: 20_000 } as const;
      await Promise.all(Array.from({ length: 8 }, () => run(increments, inSession)));
      const store = new KeychainStore({ app: "acme", folder, keychain: await libraries[library]() });
      expect(await store.get("counter")).toEqual({ v: 1, n: 40 });
    }, 120_000);
  });

  test("the store contract, by 4 processes at once on one store", async () => {
    const { folder, inSession } = await session();
    const check = (_: unknown, i: number) => run({ what: "contract", folder, prefix: `process ${i}`, keychainTimeout: 20_000 }, inSession);
    expect(await Promise.all(Array.from({ length: 4 }, check))).toEqual(Array.from({ length: 4 }, () => contract.length));
  }, 120_000);

  test("a process that is killed at any step of making the key leaves one that the next can make or use", async () => {
    const folder = await temporaryFolder();
    const inSession = { DBUS_SESSION_BUS_ADDRESS: own.address };
    expect(await run<Key>({ what: "key", folder, killAt: 1 }, inSession)).toBeUndefined();
    expect(await run<Key>({ what: "key", folder, killAt: 2 }, inSession)).toBeUndefined();
    const first = await run<Key>({ what: "key", folder }, inSession);
    expect(first).toMatchObject({ place: "keychain" });
    expect(await run<Key>({ what: "key", folder, killAt: 1 }, inSession)).toBeUndefined();
    expect(await run<Key>({ what: "key", folder }, inSession)).toEqual(first);
  });

  test("a process that is killed while it replaces a record in parts leaves the old one or the new one", async () => {
    const folder = await temporaryFolder();
    const keychain = await libraries.keytar();
    const store = () => new KeychainStore({ app: "acme", folder, keychain, keychainTimeout: 20_000, partSize: 1280 });
    await store().set("k", { v: 1, text: "-".repeat(4000) });
    for (let round = 0; round < 5; round++) {
      const writer = start({ what: "write", folder, key: "k", size: 4000 }, { DBUS_SESSION_BUS_ADDRESS: own.address });
      await once(writer.stdout ?? writer, "data");
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
      writer.kill("SIGKILL");
      await once(writer, "close");
      const { text } = (await store().get("k")) as unknown as { text: string };
      expect(text).toMatch(/^(.)\1{3999}$/);
    }
  });
});

test.runIf(hasSecretService)("a keytar that is installed but broken: @napi-rs/keyring is asked", async () => {
  const { folder, inSession } = await session();
  const without = ["keytar"];
  const first = await run<Key>({ what: "key", folder, without }, inSession);
  expect(first).toMatchObject({ place: "keychain" });
  // The libraries do not find each other's entries on Linux: all that are installed are asked.
  expect(await run<Key>({ what: "key", folder }, inSession)).toEqual(first);
  await run({ what: "store", folder, without, set: "kept" }, inSession);
  expect(await run({ what: "store", folder }, inSession)).toMatchObject({ text: "kept", status: { kind: "keychain" } });
});
