import type { JWTHeaderParameters, JWTPayload } from "jose";
import { SignJWT } from "jose/jwt/sign";
import type { Clock } from "../clock.ts";
import type { AuthorizationServerMetadata } from "../discovery/server-metadata.ts";
import { McpAuthError } from "../errors.ts";
import { type ImportedKey, importKey } from "./key-import.ts";
import type { MachineClient, PrivateKey, Signer } from "./machine-client.ts";
import { isSigner, signWith } from "./signer.ts";

/** A key that makes JWTs. */
export interface SigningKey {
  /** JWS algorithm. */
  algorithm: string;
  /** `kid`. */
  keyId: string | undefined;
  /** Makes a signed JWT. */
  sign(header: JWTHeaderParameters, claims: JWTPayload): Promise<string>;
}

/** The preferred one first: RSA as most servers want it, and `EdDSA`, which more of them know than `Ed25519`. */
const algorithms = ["RS256", "ES256", "EdDSA", "Ed25519", "PS256", "ES384", "ES512", "RS384", "RS512", "PS384", "PS512"];

/** Keys that are objects, imported: the managers of many users share one. */
const imports = new WeakMap<object, Promise<ImportedKey>>();

function imported(key: Exclude<PrivateKey, Signer>): Promise<ImportedKey> {
  if (typeof key === "string") return importKey(key, algorithms);
  const known = imports.get(key);
  if (known) return known;
  const importing = importKey(key, algorithms);
  imports.set(key, importing);
  importing.catch(() => imports.delete(key));
  return importing;
}

/**
 * Makes the client's key ready, with an algorithm that fits key and server.
 *
 * @throws McpAuthError `invalid_option`; the result's `sign` as {@link signWith}. No error holds anything of the key.
 */
export async function signingKey(client: MachineClient, server: AuthorizationServerMetadata, clock: Clock): Promise<SigningKey> {
  const { privateKey, signingAlgorithm } = client;
  const wrong = (detail: string) => new McpAuthError("invalid_option", { issuer: server.issuer, detail });
  if (privateKey === undefined) throw wrong("`privateKey` is missing");

  const { keys, keyId } = isSigner(privateKey)
    ? { keys: new Map([[privateKey.algorithm, privateKey]]), keyId: privateKey.keyId }
    : await imported(privateKey);
  const listed = server.token_endpoint_auth_signing_alg_values_supported;
  const wanted = signingAlgorithm !== undefined ? [signingAlgorithm] : listed?.length ? listed : algorithms;
  const algorithm = algorithms.find((name) => wanted.includes(name) && keys.has(name));
  const key = algorithm && keys.get(algorithm);
  if (!key) {
    const limit = signingAlgorithm === undefined ? `the server lists ${wanted.join(", ")}` : `\`signingAlgorithm\` is ${signingAlgorithm}`;
    throw wrong(`${limit}; \`privateKey\` can do ${[...keys.keys()].join(", ")}`);
  }
  return {
    algorithm,
    keyId: client.keyId ?? keyId,
    sign: (header, claims) =>
      isSigner(key) ? signWith(key, header, claims, clock) : new SignJWT(claims).setProtectedHeader(header).sign(key),
  };
}
