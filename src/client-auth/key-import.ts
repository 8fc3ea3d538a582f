import type { JWK } from "jose";
import { importJWK, importPKCS8 } from "jose/key/import";
import { McpAuthError } from "../errors.ts";
import { members, text } from "../http/json.ts";
import type { PrivateJwk, PrivateKey, Signer, SigningCryptoKey } from "./machine-client.ts";

/** A key, ready for each algorithm that it can do. */
export interface ImportedKey {
  /** By JWS algorithm; never empty. */
  keys: ReadonlyMap<string, CryptoKey>;
  /** The JWK's `kid`. */
  keyId?: string | undefined;
}

/**
 * Reads a private key. Which algorithms it can do shows in trying: they are few.
 *
 * @param algorithms the ones to try
 * @throws McpAuthError `invalid_option`, without a cause: what parsers say may quote the key
 */
export async function importKey(key: Exclude<PrivateKey, Signer>, algorithms: readonly string[]): Promise<ImportedKey> {
  const form = typeof key === "string" ? readText(key.trim()) : key;
  if (typeof form === "string") return { keys: await trying(algorithms, (algorithm) => importPKCS8(form, algorithm)) };
  if (isCryptoKey(form)) return { keys: ofCryptoKey(form as CryptoKey) };
  checkJwk(form);
  // Ed25519 has two names; a server may know the one that the JWK does not have.
  const only = form.kty === "OKP" ? undefined : form.alg;
  const tried = only === undefined ? algorithms : algorithms.filter((algorithm) => algorithm === only);
  const keys = await trying(tried, async (algorithm) => (await importJWK({ ...form } as JWK, algorithm)) as CryptoKey);
  return { keys, keyId: text(form.kid) };
}

/** The PEM block of a text, or the JWK that it is. */
function readText(key: string): string | PrivateJwk {
  if (key.startsWith("{")) return members(key);
  // Environment variables often carry line breaks as two characters.
  const [pem, label] = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.+?-----END \1-----/s.exec(key.replaceAll("\\n", "\n")) ?? [];
  if (pem && label === "PRIVATE KEY") return pem;
  if (label === undefined) throw wrong("is neither a PEM with a private key nor a JWK");
  const command = label.startsWith("OPENSSH")
    ? "ssh-keygen -p -m PKCS8 -f key.pem"
    : "openssl pkcs8 -topk8 -nodes -in key.pem -out pkcs8.pem";
  throw wrong(`is a PEM with "${label}"`, `Convert it to PKCS #8: ${command}`);
}

function checkJwk(jwk: PrivateJwk): void {
  if (typeof jwk !== "object" || jwk === null || !["RSA", "EC", "OKP"].includes(String(jwk.kty)))
    throw wrong("must be a PEM, a JWK with `kty` RSA, EC or OKP, a `CryptoKey` or a signer");
  if (!jwk.d) throw wrong("is a public JWK, without `d`");
}

async function trying(algorithms: readonly string[], use: (algorithm: string) => Promise<CryptoKey>): Promise<Map<string, CryptoKey>> {
  const keys = new Map<string, CryptoKey>();
  for (const algorithm of algorithms) {
    const key = await use(algorithm).catch(() => undefined);
    if (key) keys.set(algorithm, usable(key));
  }
  if (keys.size === 0) throw wrong("is damaged, or of a kind that cannot sign");
  return keys;
}

function isCryptoKey(key: PrivateJwk | SigningCryptoKey): key is SigningCryptoKey {
  return Object.prototype.toString.call(key) === "[object CryptoKey]";
}

/** A `CryptoKey` knows what it is for. */
function ofCryptoKey(key: CryptoKey): Map<string, CryptoKey> {
  const { name, hash, namedCurve } = key.algorithm as KeyAlgorithm & { hash?: KeyAlgorithm; namedCurve?: string };
  const bits = hash?.name.slice(-3);
  const algorithms =
    {
      "RSASSA-PKCS1-v1_5": [`RS${bits}`],
      "RSA-PSS": [`PS${bits}`],
      ECDSA: [{ "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" }[namedCurve ?? ""] ?? `ECDSA with ${namedCurve}`],
      Ed25519: ["EdDSA", "Ed25519"],
    }[name] ?? [];
  if (key.type !== "private" || !key.usages.includes("sign") || algorithms.length === 0)
    throw wrong(`is a \`CryptoKey\` that cannot sign: ${key.type}, ${name}, usages ${key.usages.join(", ") || "none"}`);
  return new Map(algorithms.map((algorithm) => [algorithm, usable(key)]));
}

/** @see RFC 7518 §3.3 */
function usable(key: CryptoKey): CryptoKey {
  const { modulusLength = Infinity } = key.algorithm as Partial<RsaKeyAlgorithm>;
  if (modulusLength < 2048) throw wrong(`has ${modulusLength} bits; RSA needs 2048`);
  return key;
}

function wrong(what: string, hint?: string): McpAuthError {
  return new McpAuthError("invalid_option", { detail: `\`privateKey\` ${what}`, hint });
}
