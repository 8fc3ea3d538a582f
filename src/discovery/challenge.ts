import { checkOptions, maybeEmptyText, needed, type Rule } from "../options.ts";

/** One challenge of a `WWW-Authenticate` header (RFC 9110 §11.6.1). */
export interface AuthenticateChallenge {
  /** In lower case. */
  scheme: string;
  /** Instead of parameters, in some schemes (RFC 9110 §11.2). */
  token68?: string | undefined;
  /** Names in lower case; no prototype. Of a repeated name the first value counts. */
  parameters: Readonly<Record<string, string>>;
}

/** What the response to a refused request says about logging in. */
export interface Challenge {
  /** HTTP status of the response. */
  status: number;
  /** Every challenge, of any scheme, in order. */
  challenges: AuthenticateChallenge[];
  /** URL of the protected resource metadata (RFC 9728 §5.1). */
  resourceMetadata?: string | undefined;
  /** Scopes that the request needs, separated by spaces (RFC 6750 §3). */
  scope?: string | undefined;
  /** Error code (RFC 6750 §3.1), such as `insufficient_scope`. */
  error?: string | undefined;
  /** Untrusted text. */
  errorDescription?: string | undefined;
  /** Authentication contexts of which the server wants one, separated by spaces (RFC 9470 §3). */
  acrValues?: string | undefined;
  /** How long ago the user may have logged in, in seconds; digits (RFC 9470 §3). */
  maxAge?: string | undefined;
}

const responseRule: Rule = [
  "a `Response`",
  (value) => typeof Reflect.get(Object(Reflect.get(Object(value), "headers")), "get") === "function",
];

/** Name and value, quoted or bare; bare ones are wider than a token, because servers leave URLs unquoted. Some quote as JavaScript does. */
const parameter = /([\w!#$%&'*+.^`|~-]+)[ \t]*=[ \t]*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'([^'"]*)'(?=[ \t,]|$)|([^\s,"]+))/;
/** A name without "=" behind it, which ends with a space, a comma or the header. The inner lookahead keeps `abc=` and `abc=def` apart. */
const scheme = /([\w!#$%&'*+.^`|~-]+)(?![ \t]*=)(?:[ \t]+([\w.~+/-]+=*(?=[ \t]*(?:,|$)))?|(?=,|$))/;

/**
 * Parses `WWW-Authenticate`: several challenges, in one header or in several joined by commas. What cannot
 * be parsed ends the parsing, what came before it counts.
 *
 * @throws McpAuthError `invalid_option` for something else than a text
 * @see RFC 9110 §11.2, §11.6.1, §5.6
 */
export function parseChallenges(header: string): AuthenticateChallenge[] {
  checkOptions({ header }, { header: needed(maybeEmptyText) });
  const challenges: (AuthenticateChallenge & { parameters: Record<string, string> })[] = [];
  const items = header.matchAll(new RegExp(`[ \\t,]*(?:${scheme.source}|${parameter.source})`, "gsy"));
  for (const [, begun, token68, name = "", quoted = "", single, bare] of items) {
    const current = challenges.at(-1);
    if (begun) challenges.push({ scheme: begun.toLowerCase(), token68, parameters: Object.create(null) });
    else if (current) current.parameters[name.toLowerCase()] ??= bare ?? single ?? quoted.replace(/\\(.)/gs, "$1");
    else break;
  }
  return challenges;
}

/** The challenges of a response, as one header. Amazon API Gateway renames that of the servers behind it. */
export function challengeHeader(headers: Headers): string | null {
  return headers.get("www-authenticate") ?? headers.get("x-amzn-remapped-www-authenticate");
}

/**
 * Reads the challenges of a response. The values come from one `Bearer` or `DPoP` challenge: the first with
 * `resource_metadata`, else the first with `error`, else the first. Where none of these has `resource_metadata`, that of
 * any other scheme counts.
 *
 * @throws McpAuthError `invalid_option` for something else than a response
 * @see RFC 9728 §5.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3
 */
export function readChallenge(response: Response): Challenge {
  checkOptions({ response }, { response: needed(responseRule) });
  const challenges = parseChallenges(challengeHeader(response.headers) ?? "");
  const own = challenges.filter(({ scheme }) => scheme === "bearer" || scheme === "dpop").map(({ parameters }) => parameters);
  const chosen = own.find((p) => p.resource_metadata) ?? own.find((p) => p.error) ?? own[0] ?? {};
  // Of a scheme that we cannot answer the other values say nothing to us; where to learn more, they all say.
  const elsewhere = challenges.find(({ parameters }) => parameters.resource_metadata)?.parameters;
  return {
    status: response.status,
    challenges,
    resourceMetadata: chosen.resource_metadata || elsewhere?.resource_metadata || undefined,
    scope: chosen.scope || undefined,
    error: chosen.error || undefined,
    errorDescription: chosen.error_description || undefined,
    acrValues: chosen.acr_values || undefined,
    maxAge: /^\d+$/.test(chosen.max_age ?? "") ? chosen.max_age : undefined,
  };
}
