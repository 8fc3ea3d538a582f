import { McpAuthError } from "../../errors.ts";
import { readJwtClaims } from "../../grants/jwt-claims.ts";
import { checkOptions, milliseconds, needed, type Rule, type Rules, record, text } from "../../options.ts";
import type { AssertionRequest, AssertionSource } from "../assertion.ts";
import type { AssertionCommandOptions } from "./command.ts";

export type { AssertionCommandOptions };

/** Options of {@link gitHubActions}. */
export interface GitHubActionsOptions {
  /** `aud` of the ID token. Default: the issuer of the authorization server. */
  audience?: string | undefined;
}

/** Options of {@link gitLab}. */
export interface GitLabOptions {
  /** The variable that the job's `id_tokens:` names. Default `MCP_AUTH_ID_TOKEN`. */
  variable?: string | undefined;
}

/** Options of {@link kubernetes}. */
export interface KubernetesOptions {
  /** Path of the token in the pod's projected volume. Default `/var/run/secrets/tokens/mcp`. */
  path?: string | undefined;
}

export const gitHubActionsRules: Rules<GitHubActionsOptions> = { audience: text };
export const gitLabRules: Rules<GitLabOptions> = { variable: text };
export const kubernetesRules: Rules<KubernetesOptions> = { path: text };
export const assertionCommandRules: Rules<AssertionCommandOptions> = {
  commandTimeout: milliseconds,
  env: ["an object of texts", isEnvironment],
  identity: text,
};
const commandRule: Rule = [
  "an array of texts, of which the first names the program",
  (value) => Array.isArray(value) && value.length > 0 && value[0] !== "" && value.every((item) => typeof item === "string"),
];

/**
 * The identity of a GitHub Actions job. Its workflow needs `permissions: id-token: write`. Each assertion is a new ID token.
 *
 * @returns the source; it throws `assertion_unavailable`, `server_error`, `rate_limited`, and what `http.fetch` throws
 * @see https://docs.github.com/actions/reference/security/oidc
 * @example
 * ```ts
 * const auth = new MachineTokenManager({ serverUrl, issuer: "https://as.example.com", assertion: gitHubActions() });
 * ```
 */
export function gitHubActions(options: GitHubActionsOptions = {}): AssertionSource {
  const { audience } = checkOptions(options, gitHubActionsRules);
  return source(
    async (request) => (await import("./github-actions.ts")).gitHubActionsAssertion(audience, request),
    () => {
      const { GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token = "" } = process.env;
      // The request token is all that differs between the jobs of a matrix. Without it there is no ID token to mix up.
      return keySegment("github", repository, run, process.getBuiltinModule("node:crypto").hash("sha256", token).slice(0, 16));
    },
  );
}

/**
 * The identity of a GitLab CI job: an ID token in its environment, valid as long as the job runs.
 *
 * @returns the source; it throws `assertion_unavailable`
 * @see https://docs.gitlab.com/ci/secrets/id_token_authentication/
 * @example The job's part:
 * ```yaml
 * id_tokens: { MCP_AUTH_ID_TOKEN: { aud: "https://as.example.com" } }
 * ```
 */
export function gitLab(options: GitLabOptions = {}): AssertionSource {
  const { variable = "MCP_AUTH_ID_TOKEN" } = checkOptions(options, gitLabRules);
  return source(
    async (request) => (await import("./gitlab.ts")).gitLabAssertion(variable, request),
    () => process.env.CI_JOB_ID && keySegment("gitlab", process.env.CI_SERVER_HOST, process.env.CI_JOB_ID),
  );
}

/**
 * The identity of a Kubernetes pod: a service-account token from a projected volume, with the authorization server as its
 * audience. It is read each time, because the kubelet replaces it.
 *
 * The default token of a pod (below `/var/run/secrets/kubernetes.io`) is not used: it is valid at the cluster's own API, and an
 * authorization server that gets it could use it there.
 *
 * @returns the source; it throws `assertion_unavailable`
 * @see https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
 */
export function kubernetes(options: KubernetesOptions = {}): AssertionSource {
  const { path = "/var/run/secrets/tokens/mcp" } = checkOptions(options, kubernetesRules);
  return source(
    async ({ issuer }) => (await import("./file.ts")).kubernetesAssertion(path, issuer),
    () => subjectOf(path),
  );
}

/**
 * Assertions from a file that another program keeps fresh: SPIFFE, Azure (`AZURE_FEDERATED_TOKEN_FILE`), AWS
 * (`AWS_WEB_IDENTITY_TOKEN_FILE`). It is read each time.
 *
 * @returns the source; it throws `assertion_unavailable`
 */
export function assertionFile(path: string): AssertionSource {
  checkOptions({ path }, { path: needed(text) });
  return source(
    async () => (await import("./file.ts")).fileAssertion(path),
    () => subjectOf(path),
  );
}

/**
 * Assertions from a command that prints them, such as `gcloud auth print-identity-token`. It is run each time, without a shell
 * and without input.
 *
 * Every user of the machine can see a command's arguments: pass secrets by environment or file.
 *
 * @param command program and arguments
 * @returns the source; it throws `assertion_unavailable` and `timeout`
 * @example
 * ```ts
 * const assertion = assertionCommand(["gcloud", "auth", "print-identity-token", "--audiences=https://as.example.com"], { identity: "robot" });
 * ```
 */
export function assertionCommand(
  command: readonly [file: string, ...args: string[]],
  options: AssertionCommandOptions = {},
): AssertionSource {
  checkOptions({ command }, { command: needed(commandRule) });
  checkOptions(options, assertionCommandRules);
  return source(
    async (request) => (await import("./command.ts")).commandAssertion(command, options, request),
    () => options.identity,
  );
}

function isEnvironment(value: unknown): boolean {
  return record[1](value) && Object.values(value as object).every((item) => item === undefined || typeof item === "string");
}

/** Whether Node's modules are available. Bun and Deno have them, too. */
const hasNodeModules = () => globalThis.process?.getBuiltinModule !== undefined;

function source(assertion: (request: AssertionRequest) => Promise<string>, identify: () => string | undefined): AssertionSource {
  let identity: string | undefined;
  const assertionSource: AssertionSource = async (request) => {
    if (hasNodeModules()) return assertion(request);
    throw new McpAuthError("assertion_unavailable", {
      detail: "this runtime has no environment and no files",
      hint: "Pass a function as `assertion`.",
    });
  };
  return Object.defineProperty(assertionSource, "identity", { get: () => (identity ??= hasNodeModules() ? identify() : undefined) });
}

/** One segment of a key in a store. */
function keySegment(...parts: (string | undefined)[]): string {
  return parts.map((part = "") => encodeURIComponent(part)).join(":");
}

/** Whose token the file holds; `undefined` if it cannot be read. */
function subjectOf(path: string): string | undefined {
  const fs = process.getBuiltinModule("node:fs");
  try {
    // Only a regular file: reading a pipe would block.
    const claims = fs.statSync(path).isFile() ? readJwtClaims(fs.readFileSync(path, "utf8").trim()) : undefined;
    return claims?.subject && keySegment(claims.issuer, claims.subject);
  } catch {
    return undefined;
  }
}
