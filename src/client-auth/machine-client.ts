import { oneOf, type Rules, text } from "../options.ts";

/** A key that never leaves where it is: a KMS, an HSM, an agent. */
export interface Signer {
  /** JWS algorithm, such as `ES256`. */
  algorithm: string;
  /** `kid` of the public key at the authorization server. */
  keyId?: string | undefined;
  /** Signs within 10 seconds; for ECDSA the result is R and S as in JWS (RFC 7518 §3.4), not DER. */
  sign(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

/** A private key as JWK (RFC 7517, RFC 7518 §6). By its shape, as {@link SigningCryptoKey}: Node's types have no global for either. */
export interface PrivateJwk {
  /** `RSA`, `EC` or `OKP`. */
  kty?: string | undefined;
  /** Curve, such as `P-256` or `Ed25519`. */
  crv?: string | undefined;
  /** The private part. */
  d?: string | undefined;
  /** RSA modulus. */
  n?: string | undefined;
  /** RSA exponent. */
  e?: string | undefined;
  /** RSA: first prime. */
  p?: string | undefined;
  /** RSA: second prime. */
  q?: string | undefined;
  /** RSA, derived from `d` and `p`. */
  dp?: string | undefined;
  /** RSA, derived from `d` and `q`. */
  dq?: string | undefined;
  /** RSA, derived from `p` and `q`. */
  qi?: string | undefined;
  /** Public point. */
  x?: string | undefined;
  /** Public point of `EC`. */
  y?: string | undefined;
  /** JWS algorithm, if the key is for one only. */
  alg?: string | undefined;
  /** Name of the key at the authorization server. */
  kid?: string | undefined;
  /** `sig`. */
  use?: string | undefined;
  /** Holds `sign`, if it is there. */
  key_ops?: readonly string[] | undefined;
  /** Whether it may be exported. */
  ext?: boolean | undefined;
}

/** A `CryptoKey` of Web Crypto whose usages have `sign`. */
export interface SigningCryptoKey {
  /** `private`. */
  readonly type: string;
  /** What it signs with. */
  readonly algorithm: { readonly name: string };
  /** Need not be. */
  readonly extractable: boolean;
  /** Hold `sign`. */
  readonly usages: readonly string[];
}

/** A private key: PEM (PKCS #8), a JWK as object or JSON text, a `CryptoKey`, or a signer. */
export type PrivateKey = string | PrivateJwk | SigningCryptoKey | Signer;

/** How a program authenticates (RFC 7591 §2, RFC 8705 §2). */
export type MachineAuthMethod =
  | "none"
  | "client_secret_basic"
  | "client_secret_post"
  | "private_key_jwt"
  | "tls_client_auth"
  | "self_signed_tls_client_auth";

/** A program as its authorization server knows it, registered beforehand. */
export interface MachineClient {
  /** As the authorization server knows it. Not needed where an assertion is enough. */
  clientId?: string | undefined;
  /** Its secret. */
  clientSecret?: string | undefined;
  /** Its private key, for `private_key_jwt`. */
  privateKey?: PrivateKey | undefined;
  /** JWS algorithm of the key, such as `PS256`. Default: the first of RS256, ES256, EdDSA, PS256 … that it can do and the server's metadata lists. */
  signingAlgorithm?: string | undefined;
  /** `kid` of the key. Default: the one in the JWK, or the signer's. */
  keyId?: string | undefined;
  /** `aud` of the client assertion, for servers that want their token endpoint or another name in it. Default: the issuer. */
  clientAssertionAudience?: string | undefined;
  /** Default: what the credentials allow and the server's metadata lists. */
  tokenEndpointAuthMethod?: MachineAuthMethod | undefined;
}

export const machineClientRules = (): Rules<MachineClient> => ({
  clientId: text,
  clientSecret: text,
  privateKey: [
    "a PEM, a JWK, a `CryptoKey` or a signer",
    (value) => (typeof value === "string" && value !== "") || (typeof value === "object" && value !== null && !Array.isArray(value)),
  ],
  signingAlgorithm: text,
  keyId: text,
  clientAssertionAudience: text,
  tokenEndpointAuthMethod: oneOf(
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
  ),
});
