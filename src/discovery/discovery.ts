import type { Clock } from "../clock.ts";
import type { AuthEventListener } from "../events.ts";
import type { Http } from "../http/http.ts";
import type { Challenge } from "./challenge.ts";
import type { AuthorizationServer } from "oauth4webapi";

/** Metadata of an authorization server (RFC 8414, OpenID Connect Discovery), validated. */
export type AuthorizationServerMetadata = AuthorizationServer;

/** What a protected resource's metadata says (RFC 9728 §2). */
export interface ProtectedResource {
  resource: string;
  authorizationServers: readonly string[];
  scopesSupported?: readonly string[] | undefined;
  metadataUrl: string;
}
export type Speculation = ReadonlyMap<string, Promise<unknown>>;

/** Where a protected server's logins happen. */
export interface Discovery {
  serverUrl: string;
  /** What `resource` parameters say. */
  resource: string;
  /** As in the metadata. */
  issuer: string;
  server: AuthorizationServerMetadata;
  scopesSupported?: readonly string[] | undefined;
  /** There is no protected resource metadata: a server of 2025-03-26, or a configured issuer. */
  legacy: boolean;
  /** Milliseconds since 1970. */
  fetchedAt: number;
  /** Milliseconds since 1970; `fetchedAt` when it must not be cached. */
  validUntil: number;
}

export interface DiscoverOptions {
  http: Http;
  clock: Clock;
  emit: AuthEventListener;
  challenge?: Challenge | undefined;
  speculation?: Speculation | undefined;
  signal?: AbortSignal | undefined;
  /** Chooses one of several authorization servers. Default: the first whose metadata validates. */
  chooseAuthorizationServer?: ((issuers: readonly string[], resource: ProtectedResource) => string | Promise<string>) | undefined;
  /** Forbids the concession that an empty path and `/` are the same issuer. */
  strictIssuer?: boolean | undefined;
  /** Configured issuer: wins over the resource's list when the list contains it; used as it is without resource metadata. */
  issuer?: string | undefined;
}

export async function discover(serverUrl: URL, options: DiscoverOptions): Promise<Discovery> { throw new Error(`not yet: ${serverUrl} ${options}`); }
export function speculate(serverUrl: URL, http: Http): Speculation { throw new Error(`not yet: ${serverUrl} ${http}`); }
