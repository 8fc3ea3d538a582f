import type { AssertionRequest } from "../assertion.ts";
import { checkedAssertion, unavailable } from "./checked-assertion.ts";

/** The job's ID token, which GitLab puts into its environment. */
export function gitLabAssertion(variable: string, { issuer }: AssertionRequest): string {
  const token = process.env[variable];
  if (!token) throw unavailable(`\`${variable}\` is not set`, `Give the job \`id_tokens: { ${variable}: { aud: "${issuer}" } }\`.`);
  return checkedAssertion(token, `\`${variable}\``);
}
