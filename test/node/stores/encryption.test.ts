/** The encrypted form of a record: a JWE of one kind. What another kind, a change or another place makes of it is refused. */
import { decodeProtectedHeader } from "jose/decode/protected_header";
import { compactDecrypt } from "jose/jwe/compact/decrypt";
import { CompactEncrypt } from "jose/jwe/compact/encrypt";
import { describe, expect, test } from "vitest";
import { type StoreKey, seal, unseal } from "../../../src/node/stores/encryption.ts";

const name = "tokens https://mcp.example";
const record = { v: 1, accessToken: "bärer – token" };
const bytes = crypto.getRandomValues(new Uint8Array(32));
const keyOf = (raw: Uint8Array<ArrayBuffer>) => crypto.subtle.importKey("raw", raw, "AES-GCM", true, ["encrypt", "decrypt"]);
const storeKey = async (): Promise<StoreKey> => ({ kid: "our key", key: await keyOf(bytes), place: "file" });
const sealed = async () => seal(await storeKey(), name, record);
const parts = async () => (await sealed()).split(".") as [string, string, string, string, string];

/** Encrypted with our key as RFC 7516 §5.1 has it, whatever the header says. */
async function forged(header: object, ivLength = 12): Promise<string> {
  const encoded = Buffer.from(JSON.stringify(header)).toString("base64url");
  const iv = crypto.getRandomValues(new Uint8Array(ivLength));
  const { key } = await storeKey();
  const algorithm = { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(encoded) };
  const both = Buffer.from(await crypto.subtle.encrypt(algorithm, key, Buffer.from(JSON.stringify(record))));
  const shown = [iv, both.subarray(0, -16), both.subarray(-16)].map((part) => Buffer.from(part).toString("base64url"));
  return [encoded, "", ...shown].join(".");
}
/** Encrypted with our key as `jose` does it by this header. */
async function written(header: { alg: string; enc: string }): Promise<string> {
  return new CompactEncrypt(Buffer.from(JSON.stringify(record))).setProtectedHeader(header).encrypt((await storeKey()).key);
}
const ours = { alg: "dir", enc: "A256GCM", kid: "our key", name };

test("what was encrypted is read, and names its key", async () => {
  const jwe = await sealed();
  expect(jwe).not.toContain("bärer");
  expect(await unseal(await storeKey(), name, jwe)).toEqual(record);
  expect(decodeProtectedHeader(jwe)).toEqual(ours);
});

test("it is a JWE with `dir` and A256GCM, whoever writes it", async () => {
  const { plaintext, protectedHeader } = await compactDecrypt(await sealed(), bytes);
  expect(JSON.parse(new TextDecoder().decode(plaintext))).toEqual(record);
  expect(protectedHeader).toEqual(ours);
  const theirs = await new CompactEncrypt(Buffer.from(JSON.stringify(record))).setProtectedHeader(ours).encrypt(bytes);
  expect(await unseal(await storeKey(), name, theirs)).toEqual(record);
  expect(await unseal(await storeKey(), name, await forged(ours))).toEqual(record);
});

describe("refused as `invalid_record`", () => {
  const changed = (text: string) => (text.startsWith("A") ? "B" : "A") + text.slice(1);
  test.each<[string, () => Promise<string>]>([
    ["by our key that wraps another, which is another algorithm", () => written({ ...ours, alg: "A256GCMKW" })],
    ["the same, with another encryption", () => written({ ...ours, alg: "A256GCMKW", enc: "A128GCM" })],
    ["no algorithm", () => forged({ ...ours, alg: undefined })],
    ["another encryption", () => forged({ ...ours, enc: "A128GCM" })],
    ["compressed", () => forged({ ...ours, zip: "DEF" })],
    ["an extension that must be understood", () => forged({ ...ours, crit: ["exp"], exp: 1 })],
    ["a key derived from a password", () => forged({ ...ours, alg: "PBES2-HS256+A128KW", p2s: "AAAA", p2c: 10_000_000 })],
    ["an initialization vector of another length", () => forged(ours, 16)],
    ["another record's", () => forged({ ...ours, name: "tokens https://other.example" })],
    ["without a name", () => forged({ ...ours, name: undefined })],
    ["a header that is not an object", () => forged([])],
    ["with another key", async () => seal({ ...(await storeKey()), key: await keyOf(bytes.toReversed()) }, name, record)],
    ["with an encrypted key", async () => (await parts()).with(1, "AAAA").join(".")],
    [
      "its header changed",
      async () => (await parts()).with(0, Buffer.from(JSON.stringify({ ...ours, kid: "x" })).toString("base64url")).join("."),
    ],
    ["its initialization vector changed", async () => (([h, k, iv, c, t]) => [h, k, changed(iv), c, t].join("."))(await parts())],
    ["its text changed", async () => (([h, k, iv, c, t]) => [h, k, iv, changed(c), t].join("."))(await parts())],
    ["its tag changed", async () => (([h, k, iv, c, t]) => [h, k, iv, c, changed(t)].join("."))(await parts())],
    ["its tag shortened", async () => (await sealed()).slice(0, -4)],
    [
      "its tag moved into the text",
      async () =>
        (([h, k, iv, c, t]) =>
          [h, k, iv, Buffer.concat([c, t].map((p) => Buffer.from(p, "base64url"))).toString("base64url"), ""].join("."))(await parts()),
    ],
    ["its tag missing", async () => (await parts()).slice(0, 4).join(".")],
    ["a part too many", async () => `${await sealed()}.AAAA`],
    ["no JWE", async () => "plain text"],
    ["nothing", async () => ""],
  ])("%s", async (_what, make) => {
    const jwe = await make();
    await expect(storeKey().then((key) => unseal(key, name, jwe))).rejects.toMatchObject({
      code: "invalid_record",
      message: expect.stringContaining(name),
    });
  });
});
