/** One challenge of a `WWW-Authenticate` header (RFC 9110 §11.6.1). */
export interface AuthenticateChallenge {
  /** In lower case. */
  scheme: string;
  token68?: string | undefined;
  /** Names in lower case; no prototype. Of a repeated name the first value counts. */
  parameters: Readonly<Record<string, string>>;
}

/** What a refused answer says about logging in. */
export interface Challenge {
  /** HTTP status of the answer. */
  status: number;
  /** Every challenge, of any scheme, in order. */
  challenges: AuthenticateChallenge[];
  /** URL of the protected resource metadata (RFC 9728 §5.1). */
  resourceMetadata?: string | undefined;
  /** Scopes that the request needs, separated by spaces (RFC 6750 §3). */
  scope?: string | undefined;
  error?: string | undefined;
  errorDescription?: string | undefined;
}

const tokenChars = /[\w!#$%&'*+.^`|~-]+/y;
/** The closing lookahead tells `abc=` from the parameter `abc=def`. */
const token68Chars = /[\w.~+/-]+=*(?=[ \t]*(?:,|$))/y;
/** Wider than a token: servers leave URLs unquoted. */
const bareValue = /[^\s,"]+/y;
const whitespace = /[ \t]*/y;
const separators = /[ \t,]*/y;

/**
 * Parses `WWW-Authenticate`: several challenges, in one header or in several joined by commas. Never throws: what
 * cannot be understood ends the reading, what came before it counts.
 *
 * @see RFC 9110 §11.2, §11.6.1, §5.6
 */
export function parseChallenges(header: string): AuthenticateChallenge[] {
  const challenges: AuthenticateChallenge[] = [];
  let current: { scheme: string; token68?: string; parameters: Record<string, string> } | undefined;
  let position = 0;

  /** What `pattern` matches right here, or "". */
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = position;
    const found = pattern.exec(header)?.[0] ?? "";
    position += found.length;
    return found;
  };

  /** A quoted string without its quotes and backslashes; `undefined` when it does not end. */
  const takeQuoted = (): string | undefined => {
    let text = "";
    for (position++; position < header.length; position++) {
      if (header[position] === '"') {
        position++;
        return text;
      }
      if (header[position] === "\\") position++;
      text += header[position] ?? "";
    }
    return undefined;
  };

  for (;;) {
    take(separators);
    const name = take(tokenChars).toLowerCase();
    if (!name) return challenges;
    const space = take(whitespace);

    if (header[position] === "=") {
      position++;
      take(whitespace);
      const value = header[position] === '"' ? takeQuoted() : take(bareValue) || undefined;
      if (!current || value === undefined) return challenges;
      current.parameters[name] ??= value;
      continue;
    }

    // No "=" behind it: a scheme, which ends with a space, a comma or the header.
    if (!space && position < header.length && header[position] !== ",") return challenges;
    current = { scheme: name, parameters: Object.create(null) };
    challenges.push(current);
    const token68 = space && take(token68Chars);
    if (token68) current.token68 = token68;
  }
}

/**
 * Reads what an answer's challenges say. The values come from one `Bearer` or `DPoP` challenge: the first with
 * `resource_metadata`, else the first with `error`, else the first.
 *
 * @see RFC 9728 §5.1, RFC 6750 §3, RFC 9449 §7.1
 */
export function challengeOf(response: Response): Challenge {
  const challenges = parseChallenges(response.headers.get("www-authenticate") ?? "");
  const own = challenges.filter(({ scheme }) => scheme === "bearer" || scheme === "dpop").map(({ parameters }) => parameters);
  const chosen = own.find((p) => p.resource_metadata) ?? own.find((p) => p.error) ?? own[0] ?? {};
  return {
    status: response.status,
    challenges,
    resourceMetadata: chosen.resource_metadata || undefined,
    scope: chosen.scope || undefined,
    error: chosen.error || undefined,
    errorDescription: chosen.error_description || undefined,
  };
}
