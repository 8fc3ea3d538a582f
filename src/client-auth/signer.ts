import { abortable, deadline } from "../async.ts";
import type { Clock } from "../clock.ts";
import { McpAuthError } from "../errors.ts";
import { base64url } from "../http/base64url.ts";
import type { Signer } from "./machine-client.ts";

/** Milliseconds that a signer may take. */
const limit = 10_000;

/** Bytes of an ECDSA signature: R and S (RFC 7518 §3.4). */
const lengths: Readonly<Record<string, number>> = { ES256: 64, ES384: 96, ES512: 132 };

/** Whether it is a signer, not a key. */
export function isSigner(key: object | string): key is Signer {
  return typeof (key as Partial<Signer> | null)?.sign === "function";
}

/**
 * Makes a JWT that a signer signs.
 *
 * @throws McpAuthError `timeout` after 10 seconds, `credential_unavailable` with the signer's own error as `cause` (unless
 *   that is one of ours),
 *   `invalid_option` for a result that is no signature
 * @see RFC 7515 §5.1
 */
export async function signWith(signer: Signer, header: object, claims: object, clock: Clock): Promise<string> {
  const input = `${encoded(header)}.${encoded(claims)}`;
  const { signal, stop } = deadline(clock, limit, () => new McpAuthError("timeout", { party: "app", detail: `the signer, ${limit} ms` }));
  try {
    const signature = await abortable(result(signer, new TextEncoder().encode(input)), signal);
    return `${input}.${base64url(checked(signature, signer.algorithm))}`;
  } finally {
    stop();
  }
}

async function result(signer: Signer, data: Uint8Array<ArrayBuffer>): Promise<unknown> {
  try {
    return await signer.sign(data);
  } catch (cause) {
    throw cause instanceof McpAuthError ? cause : new McpAuthError("credential_unavailable", { detail: "the signer failed", cause });
  }
}

function checked(signature: unknown, algorithm: string): Uint8Array {
  const wrong = (what: string, hint?: string) =>
    new McpAuthError("invalid_option", { detail: `what the signer returns for ${algorithm} ${what}`, hint });
  if (!isBytes(signature) || signature.length === 0) throw wrong("must be a Uint8Array with a signature");
  const length = lengths[algorithm];
  if (length === undefined || signature.length === length) return signature;
  const isDer = signature[0] === 0x30;
  const hint = isDer ? "Convert it from DER to R and S, as JWS has them." : undefined;
  throw wrong(`has ${signature.length} bytes, not ${length}`, hint);
}

/** By its name: another realm's (a test runner's, a sandbox's) is of another class. */
function isBytes(value: unknown): value is Uint8Array {
  return Object.prototype.toString.call(value) === "[object Uint8Array]";
}

function encoded(value: object): string {
  return base64url(new TextEncoder().encode(JSON.stringify(value)));
}
