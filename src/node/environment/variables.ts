/** What all variables begin with. */
export const prefix = "MCP_AUTH_";

/** What is no secret. */
export const textNames = [
  "SERVER_URL",
  "CLIENT_ID",
  "SIGNING_ALGORITHM",
  "KEY_ID",
  "TOKEN_ENDPOINT_AUTH_METHOD",
  "ISSUER",
  "TOKEN_ENDPOINT",
  "RESOURCE",
  "SCOPES",
  "WORKLOAD",
  "AUDIENCE",
  "IDP_ISSUER",
  "IDP_CLIENT_ID",
  "CLIENT_NAME",
  "ACCOUNT",
] as const;

/** What may be in a file, too: `…_FILE` is its path then. */
export const secretNames = [
  "CLIENT_SECRET",
  "PRIVATE_KEY",
  "CLIENT_CERTIFICATE",
  "CLIENT_CERTIFICATE_KEY",
  "CLIENT_CERTIFICATE_CA",
  "IDP_CLIENT_SECRET",
  "ID_TOKEN",
] as const;

export type TextName = (typeof textNames)[number];
export type SecretName = (typeof secretNames)[number];
export type Name = TextName | SecretName;

/** What other parts of this package read. */
const elsewhere = ["DEBUG", "DATA_DIR", "KEYCHAIN"];
const known: readonly string[] = [...textNames, ...secretNames, ...secretNames.map((name) => `${name}_FILE`), ...elsewhere];

/**
 * Variables with our prefix and an unknown name. Another program may have its own: where there is enough without them, only
 * those count that look like a known one misspelt.
 */
export function unknownVariables(env: NodeJS.ProcessEnv, isEnough: boolean): string[] {
  const names = Object.keys(env).filter((name) => name.startsWith(prefix) && env[name] && !known.includes(name.slice(prefix.length)));
  return names.flatMap((name) => {
    const meant = similar(name.slice(prefix.length));
    if (meant) return `${name} is unknown (did you mean ${prefix}${meant}?)`;
    return isEnough ? [] : `${name} is unknown`;
  });
}

/** The known name of which this one is a misspelling or the end. */
function similar(name: string): string | undefined {
  const [nearest] = known.map((other) => ({ other, edits: distance(name, other) })).sort((a, b) => a.edits - b.edits);
  if (nearest && nearest.edits <= 2) return nearest.other;
  return known.find((other) => other.endsWith(`_${name}`));
}

/** How many letters must be added, removed or replaced (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
