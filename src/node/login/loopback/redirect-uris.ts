import type { LoginHandlerRequest } from "../../../authorization/login-handler.ts";
import { McpAuthError } from "../../../errors.ts";
import { loopbackHosts, portMark, type RedirectOptions, withPort } from "../options.ts";

/** A port to try, and what can be received there. */
export interface Place {
  /** 0 for any free port. */
  port: number;
  path: string;
  /** The redirect URIs once the port is known; the first is the one to send. */
  uris(port: number, ipv6: boolean): string[];
}

/**
 * Where to listen, in order of preference: at the redirect URIs that the client has already, then at the app's ports or any
 * free one.
 */
export function places(options: RedirectOptions, request: LoginHandlerRequest): Place[] {
  const known = request.redirectUris ?? [];
  const fixed = request.fixed && known.length > 0;
  const appPorts = options.ports ?? (options.port === undefined ? [0] : [options.port]);
  // Where the app names ports, others may be unreachable (containers): a registration that has one is of no use.
  const usable = (port: number) => fixed || appPorts.includes(0) || appPorts.includes(port);

  const { redirectUri } = options;
  if (redirectUri !== undefined) {
    const path = options.callbackPath ?? new URL(withPort(redirectUri, 1)).pathname;
    const place = (port: number): Place => ({ port, path, uris: (actual) => [withPort(redirectUri, actual)] });
    if (!redirectUri.includes(portMark)) {
      if (fixed && !known.includes(redirectUri))
        throw new McpAuthError("invalid_option", { detail: "`redirectUri` is not one of the client's redirect URIs" });
      return appPorts.map(place);
    }
    const knownPorts = known.map((uri) => portIn(uri, redirectUri)).filter((port) => port !== undefined && usable(port));
    return [...(knownPorts as number[]), ...(fixed ? [] : appPorts)].map(place);
  }

  const preferred = request.redirectHost ?? options.redirectHost ?? "127.0.0.1";
  const found = new Map<string, { port: number; path: string; known: URL[] }>();
  const add = (port: number, path: string, uri?: URL) => {
    const key = `${port} ${path}`;
    const place = found.get(key) ?? { port, path, known: [] };
    if (uri) place.known.push(uri);
    found.set(key, place);
  };
  for (const text of known) {
    const uri = URL.parse(text);
    if (uri?.protocol !== "http:" || !loopbackHosts.includes(uri.hostname)) continue;
    // Without a port it stands for every port: authorization servers ignore the port of loopback redirect URIs (RFC 8252 §7.3).
    if (uri.port === "") for (const port of appPorts) add(port, uri.pathname, uri);
    else if (usable(Number(uri.port))) add(Number(uri.port), uri.pathname, uri);
  }
  if (!fixed) for (const port of appPorts) add(port, options.callbackPath ?? "/callback");
  return [...found.values()].map(({ port, path, known }) => ({
    port,
    path,
    uris: (actual, ipv6) => loopbackUris(known, path, actual, ipv6, preferred, fixed),
  }));
}

function loopbackUris(clients: URL[], path: string, port: number, ipv6: boolean, preferred: string, fixed: boolean): string[] {
  const preferredFirst = (a: string, b: string) => Number(b.includes(`//${preferred}`)) - Number(a.includes(`//${preferred}`));
  const known = clients
    .filter((uri) => ipv6 || uri.hostname !== "[::1]")
    .map((uri) => `http://${uri.hostname}:${port}${uri.pathname}${uri.search}`)
    .sort(preferredFirst);
  const all = loopbackHosts.slice(0, 2).map((host) => `http://${host}:${port}${path}`);
  return fixed ? known : [...new Set([...known, ...all.sort(preferredFirst)])];
}

/** The port that makes `template` into `uri`. */
function portIn(uri: string, template: string): number | undefined {
  const [before = ""] = template.split(portMark);
  const port = Number.parseInt(uri.slice(before.length), 10);
  return withPort(template, port) === uri ? port : undefined;
}
