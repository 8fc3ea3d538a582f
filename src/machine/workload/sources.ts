import { McpAuthError } from "../../errors.ts";
import { readJwtClaims } from "../../grants/jwt-claims.ts";
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
  /** Variable that the job's `id_tokens:` names. Default `MCP_AUTH_ID_TOKEN`. */
  variable?: string | undefined;
}

/** Options of {@link kubernetes}. */
export interface KubernetesOptions {
  /** Where the pod's projected volume has the token. Default `/var/run/secrets/tokens/mcp`. */
  path?: string | undefined;
}

/**
 * The identity of a GitHub Actions job, whose workflow has `permissions: id-token: write`. A new ID token is asked for each time.
 *
 * @returns the source; it throws `assertion_unavailable`, `server_error`, `rate_limited`, and what `http.fetch` throws
 * @see https://docs.github.com/actions/reference/security/oidc
 * @example
 * ```ts
 * const auth = new MachineTokenManager({ serverUrl, issuer: "https://as.example.com", assertion: gitHubActions() });
 * ```
 */
export function gitHubActions({ audience }: GitHubActionsOptions = {}): AssertionSource {
  return source(
    async (request) => (await import("./github-actions.ts")).gitHubActionsAssertion(audience, request),
    () => {
      const { GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token = "" } = process.env;
      // Jobs of a matrix differ in nothing else that is in the environment. Without it there is no token to mix up.
      return named("github", repository, run, process.getBuiltinModule("node:crypto").hash("sha256", token).slice(0, 16));
    },
  );
}

/**
 * The identity of a GitLab CI job, as an ID token in its environment. It lives as long as the job.
 *
 * @returns the source; it throws `assertion_unavailable`
 * @see https://docs.gitlab.com/ci/secrets/id_token_authentication/
 * @example The job's part:
 * ```yaml
 * id_tokens: { MCP_AUTH_ID_TOKEN: { aud: "https://as.example.com" } }
 * ```
 */
export function gitLab({ variable = "MCP_AUTH_ID_TOKEN" }: GitLabOptions = {}): AssertionSource {
  return source(
    async (request) => (await import("./gitlab.ts")).gitLabAssertion(variable, request),
    () => process.env.CI_JOB_ID && named("gitlab", process.env.CI_SERVER_HOST, process.env.CI_JOB_ID),
  );
}

/**
 * The identity of a Kubernetes pod: a service-account token made for the authorization server's audience by a projected volume.
 * It is read each time, since the kubelet replaces it.
 *
 * The token that every pod has (below `/var/run/secrets/kubernetes.io`) is made for the cluster's own API, and whoever gets it
 * can use it there: it is never taken by default.
 *
 * @returns the source; it throws `assertion_unavailable`
 * @see https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
 */
export function kubernetes({ path = "/var/run/secrets/tokens/mcp" }: KubernetesOptions = {}): AssertionSource {
  return source(
    async ({ issuer }) => (await import("./file.ts")).kubernetesAssertion(path, issuer),
    () => subjectOf(path),
  );
}

/**
 * Assertions from a file that something else keeps fresh: SPIFFE, Azure (`AZURE_FEDERATED_TOKEN_FILE`), AWS
 * (`AWS_WEB_IDENTITY_TOKEN_FILE`). It is read each time.
 *
 * @returns the source; it throws `assertion_unavailable`
 */
export function assertionFile(path: string): AssertionSource {
  return source(
    async () => (await import("./file.ts")).fileAssertion(path),
    () => subjectOf(path),
  );
}

/**
 * Assertions from a command that prints them, such as `gcloud auth print-identity-token`. It is run without a shell and
 * without input, each time.
 *
 * Every user of the machine can see a command's arguments: give it secrets by environment or file.
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
  return source(
    async (request) => (await import("./command.ts")).commandAssertion(command, options, request),
    () => options.identity,
  );
}

/** Or on Bun or Deno, which have the same modules. */
const isOnNode = () => globalThis.process?.getBuiltinModule !== undefined;

function source(assertion: (request: AssertionRequest) => Promise<string>, identify: () => string | undefined): AssertionSource {
  let identity: string | undefined;
  const found: AssertionSource = async (request) => {
    if (isOnNode()) return assertion(request);
    throw new McpAuthError("assertion_unavailable", {
      detail: "this runtime has no environment and no files",
      hint: "Pass a function as `assertion`.",
    });
  };
  return Object.defineProperty(found, "identity", { get: () => (identity ??= isOnNode() ? identify() : undefined) });
}

/** One segment of a key in a store. */
function named(...parts: (string | undefined)[]): string {
  return parts.map((part = "") => encodeURIComponent(part)).join(":");
}

/** Whose token the file holds; nobody's as long as it cannot be read. */
function subjectOf(path: string): string | undefined {
  const fs = process.getBuiltinModule("node:fs");
  try {
    // A pipe would be waited for.
    const claims = fs.statSync(path).isFile() ? readJwtClaims(fs.readFileSync(path, "utf8").trim()) : undefined;
    return claims?.subject && named(claims.issuer, claims.subject);
  } catch {
    return undefined;
  }
}
