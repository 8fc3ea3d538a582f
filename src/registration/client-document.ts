import { McpAuthError } from "../errors.ts";
import { checkOptions, needed, type Rules, record, text, texts } from "../options.ts";
import { checkClientMetadataDocument } from "./client-document-problems.ts";

/** A client ID metadata document: what an authorization server reads of a client whose ID is the document's URL. */
export interface ClientMetadataDocument {
  /** The document's own URL. */
  client_id: string;
  /** Shown to the user by the authorization server. */
  client_name: string;
  /** Where responses may go. */
  redirect_uris: readonly string[];
  /** `authorization_code`, `refresh_token` and others. */
  grant_types: readonly string[];
  /** `code`. */
  response_types: readonly string[];
  /** `private_key_jwt` with keys, else `none`. */
  token_endpoint_auth_method: "none" | "private_key_jwt";
  /** Public keys for `private_key_jwt`. */
  jwks?: PublicKeySet | undefined;
  /** Where these are, in place of `jwks`. */
  jwks_uri?: string | undefined;
  /** Further members (RFC 7591 §2), such as `client_uri`, `logo_uri`, `scope`. */
  readonly [member: string]: unknown;
}

/** A JWK set with public keys alone. @see RFC 7517 §5 */
export interface PublicKeySet {
  keys: readonly Readonly<Record<string, unknown>>[];
}

/** Options of {@link clientMetadataDocument}; those of the same name in a `HostedLogin` or `TokenManager` have the same values. */
export interface ClientMetadataDocumentOptions {
  /** https URL at which the document is served. */
  clientMetadataUrl: string;
  /** Shown to the user by the authorization server. */
  clientName: string;
  /** Where responses may go: https, or http on loopback. */
  redirectUris: readonly string[];
  /** Public keys, for a client that authenticates with a private key: see {@link publicKeySet}. */
  jwks?: PublicKeySet | undefined;
  /** https URL of these, in place of `jwks`. */
  jwksUri?: string | undefined;
  /** Further members (RFC 7591 §2), such as `client_uri` and `logo_uri`. */
  clientMetadata?: Readonly<Record<string, unknown>> | undefined;
}

export const documentRules = (): Rules<ClientMetadataDocumentOptions> => ({
  clientMetadataUrl: needed(text),
  clientName: needed(text),
  redirectUris: needed(texts),
  jwks: record,
  jwksUri: text,
  clientMetadata: record,
});

/**
 * Makes a client ID metadata document.
 *
 * @throws McpAuthError `invalid_option` for what {@link checkClientMetadataDocument} would find
 * @see draft-ietf-oauth-client-id-metadata-document §4; REQ-REG-02
 */
export function clientMetadataDocument(options: ClientMetadataDocumentOptions): ClientMetadataDocument {
  checkOptions(options, documentRules());
  const { clientMetadataUrl, clientName, redirectUris, jwks, jwksUri, clientMetadata } = options;
  const hasKeys = jwks !== undefined || jwksUri !== undefined;
  const document: ClientMetadataDocument = {
    application_type: "web",
    ...clientMetadata,
    client_id: clientMetadataUrl,
    client_name: clientName,
    redirect_uris: redirectUris,
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: hasKeys ? "private_key_jwt" : "none",
    ...(jwks && { jwks }),
    ...(jwksUri !== undefined && { jwks_uri: jwksUri }),
  };
  return checkedDocument(document, clientMetadataUrl);
}

/** @throws McpAuthError `invalid_option` with all that is wrong */
export function checkedDocument(document: ClientMetadataDocument, url: string): ClientMetadataDocument {
  const found = checkClientMetadataDocument(document, url);
  if (found.length === 0) return document;
  const detail = found.map(({ member, problem }) => `\`${member}\` ${problem}`).join("; ");
  throw new McpAuthError("invalid_option", { detail: `the client ID metadata document: ${detail}` });
}

/** Members of public keys, of all kinds: nothing else is copied. */
const publicMembers = ["kty", "crv", "n", "e", "x", "y", "alg", "use", "kid"];

/**
 * The public halves of private keys. The order does not matter to servers, which find a key by its `kid`.
 *
 * @param keys JWKs, private or public; several need a `kid` each
 * @throws McpAuthError `invalid_option` for a symmetric key, which has no public half
 */
export function publicKeySet(...keys: readonly object[]): PublicKeySet {
  return { keys: keys.map(publicHalf) };
}

function publicHalf(key: object): Readonly<Record<string, unknown>> {
  const members = Object.entries(key).filter(([name, value]) => publicMembers.includes(name) && value !== undefined);
  const { kty, ...half } = Object.fromEntries(members);
  if (!["RSA", "EC", "OKP"].includes(String(kty)))
    throw new McpAuthError("invalid_option", { detail: "`publicKeySet` takes JWKs with `kty` RSA, EC or OKP" });
  return { kty, ...half };
}
