/** Which encrypted records are taken: those that `seal` makes, and no other JWE, also where the key fits. */
import { CompactEncrypt, type CompactJWEHeaderParameters } from "jose";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Cipher, type SealingKey } from "../../src/stores/encryption.ts";

const record = { v: 1, token: "the-secret-of-the-test" };
const raw = new Uint8Array(32).fill(7);
const name = "tokens/a";
const ours: CompactJWEHeaderParameters = { alg: "dir", enc: "A256GCM", kid: "k", name };

const seal = (key: SealingKey, name: string, value: object) => new Cipher(key).seal(name, JSON.stringify(value));
const unseal = (key: SealingKey, name: string, jwe: string) => new Cipher(key).unseal(name, jwe);

/** A key of ours, and the same bytes as what other algorithms take. */
async function keys() {
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", true, ["encrypt", "decrypt"]);
  const with_ = (of: unknown): SealingKey => ({ kid: "k", key: of as CryptoKey });
  return { imported: with_(key), raw: with_(raw) };
}

/** Made by somebody who has the key. */
function encrypted(header: CompactJWEHeaderParameters, key: CryptoKey | Uint8Array, text = JSON.stringify(record)): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(text))
    .setProtectedHeader(header)
    .encrypt(key, { crit: Object.fromEntries((header.crit ?? []).map((parameter) => [parameter, true])) });
}

test("what is sealed is unsealed, with what anybody may know in clear", async () => {
  const { imported } = await keys();
  const jwe = await seal(imported, name, record);
  expect(await unseal(imported, name, jwe)).toEqual(record);
  expect(JSON.parse(Buffer.from(jwe.split(".")[0] ?? "", "base64url").toString())).toEqual(ours);
  expect(await unseal(imported, name, await encrypted(ours, imported.key))).toEqual(record);
});

describe("refused, although the key fits", () => {
  test.each<[what: string, header: CompactJWEHeaderParameters, key: "imported" | "raw"]>([
    ["a key that is wrapped by AES-GCM", { ...ours, alg: "A256GCMKW" }, "imported"],
    ["a key that is wrapped by AES-GCM, raw", { ...ours, alg: "A256GCMKW" }, "raw"],
    ["a key that is wrapped by AES", { ...ours, alg: "A256KW" }, "raw"],
    ["a key that comes from a password (PBES2)", { ...ours, alg: "PBES2-HS256+A128KW" }, "raw"],
    ["AES-CBC", { ...ours, enc: "A128CBC-HS256" }, "raw"],
    ["a text that is compressed", { ...ours, zip: "DEF" }, "imported"],
    ["an extension that is not understood", { ...ours, crit: ["exp"], exp: 1 }, "imported"],
    ["the record of another key of the store", { ...ours, name: "tokens/b" }, "imported"],
    ["a record without a name", { alg: "dir", enc: "A256GCM", kid: "k" }, "imported"],
  ])("%s", async (_what, header, kind) => {
    const key = (await keys())[kind];
    const jwe = await encrypted(header, key.key);
    const error: unknown = await unseal(key, name, jwe).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "invalid_record", transient: false, message: expect.stringContaining(name) });
    expect(String(error)).not.toContain(record.token);
  });

  test.each([
    ["another key", async () => seal({ ...(await keys()).imported, key: await otherKey() }, name, record)],
    ["a text that is not JSON", async () => encrypted(ours, raw, "{")],
    ["five empty parts", async () => "...."],
    ["an unprotected record", async () => JSON.stringify(record)],
  ])("%s", async (_what, made) => {
    await expect(unseal((await keys()).imported, name, await made())).rejects.toMatchObject({ code: "invalid_record" });
  });
});

describe("refused, because somebody has changed it", () => {
  type Parts = [header: string, key: string, iv: string, text: string, tag: string];
  const other = (text: string) => (text.startsWith("A") ? "B" : "A") + text.slice(1);
  const bytes = (text: string) => Buffer.from(text, "base64url");

  test.each<[what: string, change: (parts: Parts) => string[]]>([
    ["the header", ([, ...rest]) => [Buffer.from(JSON.stringify({ ...ours, kid: "x" })).toString("base64url"), ...rest]],
    ["the encrypted key, which there is none of", ([header, , ...rest]) => [header, "AAAA", ...rest]],
    ["the initialization vector", ([header, key, iv, ...rest]) => [header, key, other(iv), ...rest]],
    ["the text", ([header, key, iv, text, tag]) => [header, key, iv, other(text), tag]],
    ["the tag", ([header, key, iv, text, tag]) => [header, key, iv, text, other(tag)]],
    ["the tag, which is shorter", ([header, key, iv, text, tag]) => [header, key, iv, text, tag.slice(0, -4)]],
    [
      "the tag, which is part of the text",
      ([header, key, iv, ...rest]) => [header, key, iv, Buffer.concat(rest.map(bytes)).toString("base64url"), ""],
    ],
    ["the number of its parts", (parts) => [...parts, "AAAA"]],
  ])("%s", async (_what, change) => {
    const { imported } = await keys();
    const parts = (await seal(imported, name, record)).split(".") as Parts;
    await expect(unseal(imported, name, change(parts).join("."))).rejects.toMatchObject({
      code: "invalid_record",
      message: expect.not.stringContaining("another's place"),
      cause: expect.any(Error),
    });
  });
});

describe("what is not changed is decrypted once", () => {
  async function cipher() {
    const { imported } = await keys();
    const decrypted = vi.spyOn(crypto.subtle, "decrypt");
    onTestFinished(() => decrypted.mockRestore());
    return { cipher: new Cipher(imported), decrypted, sealed: (at: string) => seal(imported, at, record) };
  }

  test("however often it is read, and each reader has a copy of its own", async () => {
    const { cipher: of, decrypted, sealed } = await cipher();
    const jwe = await sealed(name);
    const [first, second] = [await of.unseal(name, jwe), await of.unseal(name, jwe)];
    expect([first, second, decrypted.mock.calls.length]).toEqual([record, record, 1]);
    expect(first).not.toBe(second);
  });

  test("and what was written is not decrypted at all", async () => {
    const { cipher: of, decrypted } = await cipher();
    expect(await of.unseal(name, await of.seal(name, JSON.stringify(record)))).toEqual(record);
    expect(decrypted).not.toHaveBeenCalled();
  });

  test("a record in another's place is refused, although its text is known", async () => {
    const { cipher: of } = await cipher();
    const jwe = await of.seal(name, JSON.stringify(record));
    await expect(of.unseal("tokens/b", jwe)).rejects.toMatchObject({ code: "invalid_record" });
  });

  test("so many are remembered: who was read longest ago is forgotten", async () => {
    const { cipher: of, decrypted, sealed } = await cipher();
    const all = await Promise.all(Array.from({ length: 257 }, async (_, n) => [`k${n}`, await sealed(`k${n}`)] as const));
    for (const [at, jwe] of all.slice(0, 256)) await of.unseal(at, jwe);
    const read = async (n: number) => {
      decrypted.mockClear();
      await of.unseal(...(all[n] as [string, string]));
      return decrypted.mock.calls.length;
    };
    expect([await read(0), await read(256), await read(0), await read(1)]).toEqual([0, 1, 0, 1]);
  });
});

const otherKey = () => crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
