/** Texts in parts: what a reader finds while others write, and what it says of one that is torn. */
import { expect, test } from "vitest";
import { KeychainEntries } from "../../../../src/node/stores/keychain/entries.ts";
import { FakeKeychain } from "./support.ts";

const long = JSON.stringify({ v: 1, text: "x".repeat(1000) });

function made() {
  const keychain = new FakeKeychain();
  return { keychain, entries: new KeychainEntries(keychain, "service", 200) };
}

test("a text of any length is read as it was written", async () => {
  const { entries } = made();
  for (const text of ["{}", long, JSON.stringify("ü😀".repeat(300))]) {
    await entries.write("a", text);
    expect(JSON.parse((await entries.read("a")) ?? "")).toEqual(JSON.parse(text));
  }
  expect(await entries.read("b")).toBeNull();
});

test("a text of which a part is missing is torn: it says so, and does not look for ever", async () => {
  const { keychain, entries } = made();
  await entries.write("a", long);
  const [part = ""] = [...keychain.entries.keys()].filter((name) => name.includes("part:"));
  keychain.entries.delete(part);
  await expect(entries.read("a")).rejects.toMatchObject({ code: "invalid_record", message: expect.stringContaining("parts are missing") });
});

test("a text that is replaced while it is read is read once more", async () => {
  const { keychain, entries } = made();
  await entries.write("a", long);
  const whole = new Map(keychain.entries);
  const [part = ""] = [...keychain.entries.keys()].filter((name) => name.includes("part:"));
  keychain.entries.delete(part);
  let heads = 0;
  const { getPassword } = keychain;
  keychain.getPassword = async (service, account) => {
    if (account === "a" && ++heads === 2) for (const [name, text] of whole) keychain.entries.set(name, text);
    return getPassword.call(keychain, service, account);
  };
  expect(await entries.read("a")).toBe(long);
});
