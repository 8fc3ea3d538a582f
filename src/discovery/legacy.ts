import { codeOf, McpAuthError } from "../errors.ts";
import type { AuthEventFacts } from "../events.ts";
import { isPublishedBy } from "../profiles/profiles.ts";
import { type Found, firstByPriority } from "./candidates.ts";
import { fetchDocument, type MetadataDocument } from "./document.ts";
import { acceptIssuer } from "./issuer-names.ts";
import {
  type AuthorizationServerMetadata,
  conceding,
  type FoundServer,
  findAuthorizationServer,
  isFlawed,
  noServer,
  type ServerSearch,
  validateServer,
  wellKnownPlaces,
} from "./server-metadata.ts";

/** A server, and what was conceded on the way to it. */
interface Candidate {
  server: AuthorizationServerMetadata;
  concessions: readonly AuthEventFacts[];
}

/**
 * Finds the authorization server of a protected server of 2025-03-26, which has no protected resource metadata: from
 * the metadata below its path, else at its origin, else at the default endpoints there.
 *
 * @throws McpAuthError as {@link findAuthorizationServer}
 * @see MCP 2025-03-26, Authorization, 2.3.2 and 2.3.3
 */
export async function findLegacyServer(server: URL, search: ServerSearch): Promise<FoundServer> {
  const { http, clock, signal, emit } = search;
  const { origin } = server;
  const atOrigin = wellKnownPlaces(new URL(origin));
  const places = [...new Set([...wellKnownPlaces(server), ...atOrigin])];
  const absent = new Set<unknown>();
  const candidates = places.map((url) => async (whileNeeded: AbortSignal): Promise<Found<Candidate>> => {
    const whole = { ...search, signal: whileNeeded };
    const document = await fetchDocument(url, (found) => found, { http, clock, signal: whileNeeded }).catch((error: unknown) => {
      // Where the revision knows no metadata, a server may answer anything: only a document counts.
      if (url !== atOrigin[0] || codeOf(error) === "discovery_failed") absent.add(error);
      throw error;
    });
    const { json } = document.value;
    if (json.issuer !== undefined) return judge(server, document, whole);
    if (url === atOrigin[0] && (json.authorization_endpoint ?? json.token_endpoint) !== undefined) {
      // Whose endpoints these are is known by the place. Such a document says as little of PKCE as one that is missing.
      const named = { ...document.value, json: { code_challenge_methods_supported: ["S256"], ...json, issuer: origin } };
      const { value, ...found } = await judge(server, { ...document, value: named }, whole);
      const concession = { type: "discovery.concession", concession: "issuer-missing", issuer: origin, detail: url } as const;
      return { ...found, value: { ...value, concessions: [concession, ...value.concessions] } };
    }
    const none = new McpAuthError("discovery_failed", { detail: url });
    absent.add(none);
    throw none;
  });

  const found = await firstByPriority(candidates, { clock, signal }, (reasons) => {
    const failures = reasons.filter((reason) => !absent.has(reason));
    if (failures.length === 1) throw failures[0];
    return failures.length > 1 ? noServer(origin, failures) : undefined;
  });
  if (!found) return { value: defaultEndpoints(origin), cacheable: true, maxAgeMs: undefined };
  for (const concession of found.value.concessions) emit(concession);
  return { ...found, value: found.value.server };
}

/** What a document at a protected server says: of a server there, or which other one it means. */
async function judge(server: URL, { value: document, ...times }: Found<MetadataDocument>, search: ServerSearch): Promise<Found<Candidate>> {
  const { url, json } = document;
  const concessions: AuthEventFacts[] = [];
  const own = { ...search, emit: (event: AuthEventFacts) => void concessions.push(event) };
  const accept = (issuer: string) => conceding({ ...times, value: validateServer(document, issuer, search) }, own.emit);
  const finish = ({ value, ...found }: FoundServer) => ({ ...found, value: { server: value, concessions } });

  const { issuer } = json;
  const { origin } = server;
  const path = server.pathname.replace(/\/$/, "");
  const isAtOrigin = wellKnownPlaces(new URL(origin)).includes(url);
  if (typeof issuer !== "string" || acceptIssuer(issuer, isAtOrigin ? origin : origin + path, search))
    return finish(accept(isAtOrigin ? origin : origin + path));
  // What the host publishes for one path may speak for the whole; what stands below the path, which is somebody's alone, may not.
  if (url.startsWith(`${origin}/.well-known/`) && issuer === origin) {
    own.emit({ type: "discovery.concession", concession: "metadata-place", issuer, detail: url });
    return finish(accept(origin));
  }

  // It may only point (Atlassian): what counts is what that issuer says about itself.
  const pointer = { type: "discovery.concession", issuer, detail: isAtOrigin ? origin : url } as const;
  try {
    own.emit({ ...pointer, concession: "issuer-pointer" });
    return finish(await findAuthorizationServer(issuer, { ...own, namedBy: "server" }));
  } catch (error) {
    if (codeOf(error) !== "discovery_failed" || isFlawed(error) || !isPublishedBy(issuer, server.href)) throw error;
    concessions.splice(0, concessions.length, { ...pointer, concession: "issuer-published-elsewhere" });
    return finish(accept(issuer));
  }
}

/** Such a server cannot say whether it supports PKCE: S256 is sent (REQ-ASM-03). */
function defaultEndpoints(origin: string): AuthorizationServerMetadata {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
  };
}

/** Whether a server's endpoints are not known, but those that are assumed where nothing is published. */
export function isAssumed(server: AuthorizationServerMetadata): boolean {
  return JSON.stringify(server) === JSON.stringify(defaultEndpoints(server.issuer));
}
