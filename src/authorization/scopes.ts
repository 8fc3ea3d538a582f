/** Where the scopes of an authorization request come from. */
export interface ScopeSources {
  /** `scope` of the server's challenge: what the operation needs. */
  challenged?: string | undefined;
  /** The app's own wish; replaces `supported`. */
  wished?: readonly string[] | undefined;
  /** `scopes_supported` of the protected resource. */
  supported?: readonly string[] | undefined;
  /** What earlier authorizations asked for: a step-up must not lose it. */
  askedBefore?: readonly string[] | undefined;
  /** `scopes_supported` of the authorization server: may list `offline_access`. */
  serverSupported?: readonly string[] | undefined;
}

/**
 * The scopes to ask for: the challenge's and the app's, else all that the resource lists, else none; with those asked
 * before, and with `offline_access` exactly when the authorization server lists it.
 *
 * @returns scopes without repetition; empty means that the request has no `scope` parameter
 * @see MCP 2026-07-28, Scope Selection Strategy and Step-Up Authorization Flow; OpenID Connect Core §11
 */
export function selectScopes(sources: ScopeSources): string[] {
  const { challenged, wished = [], supported = [], askedBefore = [] } = sources;
  const needed = [...splitScope(challenged), ...wished];
  const scopes = new Set([...askedBefore, ...(needed.length > 0 ? needed : supported)]);
  // Without any scope the server's default applies, which `offline_access` alone would replace.
  if (scopes.size > 0 && sources.serverSupported?.includes("offline_access")) scopes.add("offline_access");
  return [...scopes];
}

/** The `scope` of a request: no parameter for no scopes. */
export function joinScopes(scopes: readonly string[] | undefined): string | undefined {
  return scopes?.join(" ") || undefined;
}

/** The values of a space-separated `scope`. */
export function splitScope(scope: string | undefined): string[] {
  return scope?.split(" ").filter(Boolean) ?? [];
}
