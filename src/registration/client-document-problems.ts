import { McpAuthError } from "../errors.ts";
import { checkClientMetadataUrl } from "./client-metadata-url.ts";
import { checkRedirectUri } from "./redirect-uri.ts";

/** What is wrong with one member of a client ID metadata document. */
export interface ClientMetadataProblem {
  /** Its name; of a key `jwks.keys[0].d`. */
  member: string;
  /** Completes "`member` …". Never holds a value of a key. */
  problem: string;
}

type Members = Readonly<Record<string, unknown>>;
type Report = (member: string, problem: string) => void;

/** Servers may refuse longer ones (draft §6.6). */
const longestBytes = 5 * 1024;
/** Members of a JWK that are secret (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2). */
const secretMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/** What each kind of key has (RFC 7518 §6, RFC 8037 §2). */
const neededMembers: Readonly<Record<string, readonly string[]>> = { RSA: ["n", "e"], EC: ["crv", "x", "y"], OKP: ["crv", "x"] };
/** Pages that a server may show to users. */
const links = ["client_uri", "logo_uri", "policy_uri", "tos_uri"];

/**
 * Says what is wrong with a client ID metadata document.
 *
 * @param document parsed JSON
 * @param url where it is served
 * @returns empty where nothing is
 * @see draft-ietf-oauth-client-id-metadata-document §3, §4; RFC 7591 §2; REQ-REG-02
 */
export function checkClientMetadataDocument(document: unknown, url: string): ClientMetadataProblem[] {
  const found: ClientMetadataProblem[] = [];
  const report: Report = (member, problem) => void found.push({ member, problem });
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    report("document", "must be a JSON object");
    return found;
  }
  const members = document as Members;
  checkIdentity(members, url, report);
  checkRedirects(members, report);
  checkAuthentication(members, report);
  for (const name of links) if (members[name] !== undefined && !isHttps(members[name])) report(name, "must be an https URL");
  const { length } = new TextEncoder().encode(JSON.stringify(members));
  if (length > longestBytes) report("document", `has ${length} bytes; servers may refuse more than ${longestBytes}`);
  return found;
}

function checkIdentity({ client_id, client_name }: Members, url: string, report: Report): void {
  try {
    checkClientMetadataUrl(url);
  } catch (error) {
    if (!(error instanceof McpAuthError)) throw error;
    report("client_id", "must be an https URL with a path, and without fragment, user name and dot segments");
  }
  // Compared as they stand: `https://a.example/x` and `https://a.example:443/x` are two clients.
  if (client_id !== url) report("client_id", "must be the URL of the document, character by character");
  if (!isText(client_name)) report("client_name", "must be a text, which the authorization server shows to users");
}

function checkRedirects({ redirect_uris, grant_types, response_types }: Members, report: Report): void {
  const uris: unknown[] = Array.isArray(redirect_uris) ? redirect_uris : [];
  if (uris.length === 0) report("redirect_uris", "must list at least one URI");
  for (const [index, uri] of uris.entries())
    if (!isRedirectUri(uri)) report(`redirect_uris[${index}]`, "must be https, or http on loopback, without fragment");
  if (grant_types !== undefined && !lists(grant_types, "authorization_code")) report("grant_types", "must hold `authorization_code`");
  if (response_types !== undefined && !lists(response_types, "code")) report("response_types", "must hold `code`");
}

function checkAuthentication(members: Members, report: Report): void {
  const { token_endpoint_auth_method: method, jwks, jwks_uri } = members;
  for (const name of ["client_secret", "client_secret_expires_at"])
    if (members[name] !== undefined) report(name, "must not be there: anybody can read the document");
  if (method !== "none" && method !== "private_key_jwt")
    report("token_endpoint_auth_method", "must be `none` or `private_key_jwt`; without it, servers assume a secret");
  if (method === "private_key_jwt" && jwks === undefined && jwks_uri === undefined)
    report("jwks", "must hold the public keys for `private_key_jwt`, or `jwks_uri` say where they are");
  if (jwks !== undefined && jwks_uri !== undefined) report("jwks_uri", "must not be there beside `jwks`");
  if (jwks_uri !== undefined && !isHttps(jwks_uri)) report("jwks_uri", "must be an https URL");
  if (jwks !== undefined) checkKeys(Object(jwks) as Members, report);
}

function checkKeys({ keys }: Members, report: Report): void {
  const all: Members[] = Array.isArray(keys) ? keys.map((key) => Object(key)) : [];
  if (all.length === 0) report("jwks", "must be a JWK set with at least one key");
  for (const [index, key] of all.entries()) checkKey(key, `jwks.keys[${index}]`, report);
  const names = all.map(({ kid }) => kid);
  if (all.length > 1 && (!names.every(isText) || new Set(names).size < all.length))
    report("jwks.keys", "must have a `kid` each, all different, where there are several");
}

function checkKey(key: Members, place: string, report: Report): void {
  for (const name of secretMembers) if (key[name] !== undefined) report(`${place}.${name}`, "is secret: publish the public key alone");
  const needed = neededMembers[String(key.kty)];
  if (!needed) report(`${place}.kty`, "must be RSA, EC or OKP");
  for (const name of needed ?? []) if (!isText(key[name])) report(`${place}.${name}`, "is missing");
  if (key.use !== undefined && key.use !== "sig") report(`${place}.use`, "must be `sig`");
  // base64url: 2048 bits are 342 characters.
  if (key.kty === "RSA" && isText(key.n) && key.n.length < 342) report(`${place}.n`, "must have 2048 bits or more");
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function lists(value: unknown, item: string): boolean {
  return Array.isArray(value) && value.includes(item);
}

function isHttps(value: unknown): boolean {
  return isText(value) && URL.parse(value)?.protocol === "https:";
}

function isRedirectUri(value: unknown): boolean {
  try {
    return isText(value) && checkRedirectUri(value) instanceof URL;
  } catch {
    return false;
  }
}
