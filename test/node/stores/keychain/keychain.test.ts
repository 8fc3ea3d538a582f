/** Which keychain is asked, for how long, and what its errors mean. */
import { describe, expect, test, vi } from "vitest";
import type { Keychain } from "../../../../src/node/stores/keychain/calls.ts";
import { BoundedKeychain } from "../../../../src/node/stores/keychain/calls.ts";
import { keychainError } from "../../../../src/node/stores/keychain/error.ts";
import { findInKeychains, libraries, openKeychains } from "../../../../src/node/stores/keychain/keychain.ts";
import { FakeKeychain, run, temporaryFolder } from "./support.ts";

async function first(keychain?: Keychain | false): Promise<BoundedKeychain | undefined> {
  for await (const found of openKeychains({ keychain })) return found;
  return undefined;
}

describe("which keychain is asked", () => {
  test("the one that the app passes", async () => {
    const mine = new FakeKeychain();
    const found = await first(mine);
    await found?.setPassword("s", "a", "p");
    expect(mine.entries.get("s a")).toBe("p");
  });

  test("none, when the app says so", async () => {
    await expect(first(false)).rejects.toMatchObject({ code: "keychain_unavailable" });
  });

  test.each(["off", "OFF", "0", "false"])("none with MCP_AUTH_KEYCHAIN=%s, whatever the app passes", async (value) => {
    vi.stubEnv("MCP_AUTH_KEYCHAIN", value);
    await expect(first(new FakeKeychain())).rejects.toMatchObject({ code: "keychain_unavailable" });
  });

  test("neither library is installed: a key file", async () => {
    const folder = await temporaryFolder();
    expect(await run({ what: "key", folder, without: ["keytar", "@napi-rs/keyring"] })).toMatchObject({ place: "file" });
  });
});

describe("what the errors of keychains mean", () => {
  test.each([
    // keytar and @napi-rs/keyring on Linux
    ["Cannot autolaunch D-Bus without X11 $DISPLAY", "keychain_unavailable"],
    ["Platform failure: DBus error: Using X11 for dbus-daemon autolaunch was disabled at compile time", "keychain_unavailable"],
    ["The name org.freedesktop.secrets was not provided by any .service files", "keychain_unavailable"],
    ["Cannot create an item in a locked collection", "keychain_locked"],
    ["Couldn't access platform storage: Secret Service: unlock prompt was dismissed", "keychain_locked"],
    ["Did not receive a reply. Possible causes include: the message bus security policy blocked the reply", "keychain_timeout"],
    ["Timeout was reached", "keychain_timeout"],
    // macOS
    ["User canceled the operation.", "keychain_refused"],
    ["The user name or passphrase you entered is not correct.", "keychain_refused"],
    ["OSStatus error -128", "keychain_refused"],
    ["OSStatus error -25293", "keychain_refused"],
    ["User interaction is not allowed.", "keychain_locked"],
    ["In dark wake, no UI possible (-25308)", "keychain_locked"],
    // Windows
    ["The operation was canceled by the user.", "keychain_refused"],
    ["Access is denied.", "keychain_refused"],
  ])("%s: %s", (message, code) => {
    const cause = new Error(message);
    expect(keychainError("keytar", cause)).toMatchObject({ code, cause, message: expect.stringContaining("keytar") });
  });
});

describe("Keychain asks again and again; or hangs (SpeakMCP #635, kimi-code #3254)", () => {
  test("one that never answers is given up within the bound", async () => {
    const hanging = new FakeKeychain();
    hanging.before = () => new Promise(() => {});
    const keychain = new BoundedKeychain(hanging, "it", 30);
    await expect(keychain.getPassword("s", "a")).rejects.toMatchObject({ code: "keychain_timeout", hint: expect.stringContaining("off") });
  });

  test("what has been given up is never sent, and takes no further threads", async () => {
    const hanging = new FakeKeychain();
    const { promise: answer, resolve } = Promise.withResolvers<void>();
    hanging.before = () => answer;
    const keychain = new BoundedKeychain(hanging, "it", 30);
    const calls = [keychain.getPassword("s", "a"), keychain.setPassword("s", "a", "late"), keychain.getPassword("s", "b")];
    for (const result of await Promise.allSettled(calls)) expect(result).toMatchObject({ reason: { code: "keychain_timeout" } });
    expect(hanging.calls).toEqual(["get a"]);
    resolve();
    await keychain.settled();
    expect(hanging.calls).toEqual(["get a"]);
    expect(await keychain.getPassword("s", "a")).toBeNull();
  });

  test("one that throws, or answers late with an error, breaks nothing", async () => {
    const failing = new FakeKeychain();
    failing.before = () => {
      throw new Error("User canceled the operation.");
    };
    await expect(new BoundedKeychain(failing, "it", 30).getPassword("s", "a")).rejects.toMatchObject({ code: "keychain_refused" });
    const { promise: answer, reject } = Promise.withResolvers<void>();
    failing.before = () => answer;
    const keychain = new BoundedKeychain(failing, "it", 10);
    await expect(keychain.getPassword("s", "a")).rejects.toMatchObject({ code: "keychain_timeout" });
    reject(new Error("too late"));
    await keychain.settled();
  });

  test("a process whose keychain hangs gets a key file, and ends", async () => {
    const folder = await temporaryFolder();
    expect(await run({ what: "hang", folder, keychainTimeout: 50 })).toEqual({ place: "file" });
  });
});

describe("of two keychains", () => {
  test.each<[rule: string, first: string, asked: number, answer: string]>([
    ["the second is asked where the first is locked", "Cannot create an item in a locked collection", 1, "found"],
    ["nobody waits for the second where the first does not answer", "Timeout was reached", 0, "keychain_locked"],
  ])("%s", async (_rule, message, asked, answer) => {
    const [first, second] = [new FakeKeychain(), new FakeKeychain(new Map([["s a", "found"]]))];
    first.before = () => {
      throw new Error(message);
    };
    vi.spyOn(libraries, "keytar").mockResolvedValue(first);
    vi.spyOn(libraries, "@napi-rs/keyring").mockResolvedValue(second);
    const look = async (keychain: BoundedKeychain) => (await keychain.getPassword("s", "a")) ?? undefined;
    expect(await findInKeychains({}, "it", look).catch(({ code }) => code)).toBe(answer);
    expect(second.calls).toHaveLength(asked);
  });
});

test("a library that answers `undefined` for what is not there says `null`", async () => {
  const keychain = new FakeKeychain();
  keychain.getPassword = async () => undefined as never;
  expect(await new BoundedKeychain(keychain, "keytar", 1000).getPassword("s", "a")).toBeNull();
});
