import type { IssuerConcession } from "../events.ts";
import { issuerTemplates } from "../profiles/profiles.ts";

/** Two names of one authorization server, character by character. */
export interface IssuerAlias {
  /** The issuer that is looked for: as the protected server, or the app, names it. */
  expected: string;
  /** The issuer that its metadata name. */
  found: string;
}

/** When two names count as the same issuer. */
export interface IssuerRules {
  /** Forbids the concession that an empty path and `/` are the same issuer. */
  strictIssuer?: boolean | undefined;
  /** The only pair of names that counts although it differs. */
  issuerAlias?: IssuerAlias | undefined;
}

/** The name of an issuer whose metadata were accepted. */
export interface IssuerName {
  issuer: string;
  concession?: { concession: IssuerConcession; detail: string };
}

/**
 * Whether two identifiers name the same issuer: equal character by character, except that `https://host` and
 * `https://host/` are the same (Google's servers differ in it) unless strict, and the pair that the app allows. Nothing else
 * is normalised.
 */
export function isSameIssuer(a: string, b: string, { strictIssuer, issuerAlias }: IssuerRules = {}): boolean {
  const isAlias = issuerAlias && [a, b].every((name) => name === issuerAlias.expected || name === issuerAlias.found);
  return a === b || isAlias || (!strictIssuer && bare(a) === bare(b));
}

/** The other name of an issuer, where the app allows one. */
export function otherName(issuer: string, { issuerAlias }: IssuerRules): string | undefined {
  if (issuerAlias?.expected === issuer) return issuerAlias.found;
  return issuerAlias?.found === issuer ? issuerAlias.expected : undefined;
}

function bare(issuer: string): string {
  return issuer.replace(/^(https?:\/\/[^/?#]+)\/$/, "$1");
}

/** Under which name metadata are accepted that were looked for under `expected`; `undefined` where they are another issuer's. */
export function acceptIssuer(found: string, expected: string, rules: IssuerRules): IssuerName | undefined {
  const { strictIssuer, issuerAlias } = rules;
  if (found === expected) return { issuer: found };
  if (isSameIssuer(found, expected, { strictIssuer }))
    return { issuer: found, concession: { concession: "issuer-final-slash", detail: expected } };
  if (issuerAlias?.expected === expected && issuerAlias.found === found)
    return { issuer: found, concession: { concession: "issuer-alias", detail: expected } };
  // What all tenants share names none of them: the login is bound to the name that was asked for.
  if (issuerTemplates(expected).includes(found)) return { issuer: expected, concession: { concession: "issuer-template", detail: found } };
  return undefined;
}
