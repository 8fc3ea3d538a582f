import { McpAuthError } from "../errors.ts";
import { checkOptions, type Idle, type Rule, type Rules } from "../options.ts";
import { crypto } from "./builtins.ts";

/** PEM as text or bytes; PKCS #12 as bytes. */
export type CertificateBytes = string | Uint8Array;

/** What a program shows who it is with: certificate and key as PEM, or both as PKCS #12. */
export interface ClientCertificate {
  /** Certificate, followed by those of the chain; PEM. */
  cert?: CertificateBytes | undefined;
  /** Private key; PEM. */
  key?: CertificateBytes | undefined;
  /** Certificate and key in one, in place of `cert` and `key`; PKCS #12. */
  pfx?: CertificateBytes | undefined;
  /** Opens an encrypted `key` or `pfx`. */
  passphrase?: string | undefined;
  /** Who may have issued the servers' certificates, in place of those whom Node trusts (`tls.rootCertificates`); PEM. */
  ca?: CertificateBytes | readonly CertificateBytes[] | undefined;
}

const isBytes = (value: unknown) => (typeof value === "string" || value instanceof Uint8Array) && value.length > 0;
const bytes: Rule = ["a text or bytes, not empty", isBytes];

export const certificateRules = (): Rules<ClientCertificate> => ({
  cert: bytes,
  key: bytes,
  pfx: bytes,
  passphrase: ["a text", (value) => typeof value === "string"],
  ca: [
    "a text or bytes, or an array of these, not empty",
    (value) => (Array.isArray(value) ? value.length > 0 && value.every(isBytes) : isBytes(value)),
  ],
});

/** All is in one file, or in two. */
export const idleCertificateOptions: Idle<ClientCertificate> = [
  ["cert", "pfx"],
  ["key", "pfx"],
];

/**
 * Checks what can be checked before there is a connection. No error holds anything of the key.
 *
 * @param now milliseconds since 1970
 * @returns when it expires, in ms since 1970; `Infinity` for PKCS #12, which Node does not tell
 * @throws McpAuthError `invalid_option`, `credential_expired`
 */
export function checkCertificate(certificate: ClientCertificate, now: number): number {
  checkOptions(certificate, certificateRules(), idleCertificateOptions);
  const { cert, key, pfx, passphrase, ca } = certificate;
  const { X509Certificate, createPrivateKey } = crypto();
  for (const authority of ca === undefined ? [] : Array.isArray(ca) ? ca : [ca]) {
    readable(() => new X509Certificate(authority), "`ca` is not a certificate in PEM");
  }
  if (pfx !== undefined) {
    const { createSecureContext } = process.getBuiltinModule("node:tls");
    const options = { pfx: pfx as Buffer, passphrase };
    readable(() => createSecureContext(options), "`pfx` is not a PKCS #12 file that `passphrase` opens");
    return Infinity;
  }
  if (!cert || !key) throw wrong("a client certificate needs `cert` and `key`, or `pfx`");
  const own = readable(() => new X509Certificate(cert), "`cert` is not a certificate in PEM");
  const isEncrypted = /ENCRYPTED/.test(typeof key === "string" ? key : new TextDecoder().decode(key));
  const privateKey = readable(
    () => createPrivateKey({ key: key as Buffer, passphrase }),
    isEncrypted ? "`passphrase` does not open `key`" : "`key` is not a private key in PEM",
  );
  if (!own.checkPrivateKey(privateKey)) throw wrong("`key` does not belong to `cert`");
  if (now < Date.parse(own.validFrom)) throw wrong(`\`cert\` is not valid before ${own.validFrom}`);
  if (Date.parse(own.validTo) <= now) throw new McpAuthError("credential_expired", { detail: `\`cert\` ended at ${own.validTo}` });
  return Date.parse(own.validTo);
}

/** What OpenSSL says of it is left out: it would not help, and nobody can tell what it quotes. */
function readable<T>(read: () => T, detail: string): T {
  try {
    return read();
  } catch {
    throw wrong(detail);
  }
}

function wrong(detail: string): McpAuthError {
  return new McpAuthError("invalid_option", { detail });
}
