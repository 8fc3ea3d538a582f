import type { MachineAuthMethod } from "../../client-auth/machine-client.ts";
import { McpAuthError } from "../../errors.ts";
import { findSecret, type Secret } from "./secret.ts";
import { type Name, prefix, type SecretName, secretNames, type TextName, textNames, unknownVariables } from "./variables.ts";

/** What the environment says, without contradictions. */
export interface Settings {
  /** `MCP_AUTH_SERVER_URL`. */
  serverUrl: string;
  /** Whether there are credentials of a program. */
  isMachine: boolean;
  /** By name without prefix. */
  texts: Partial<Record<TextName, string>>;
  /** By name without prefix, wherever they were found. */
  secrets: Partial<Record<SecretName, Secret>>;
}

type Has = (name: Name) => boolean;

/** Any of them is a program's. */
const credentials = ["CLIENT_SECRET", "PRIVATE_KEY", "CLIENT_CERTIFICATE", "WORKLOAD", "IDP_ISSUER"] as const;

/** What is of no use without one of others. */
const needs: readonly [name: Name, ...oneOf: Name[]][] = [
  ["CLIENT_SECRET", "CLIENT_ID"],
  ["PRIVATE_KEY", "CLIENT_ID"],
  ["SIGNING_ALGORITHM", "PRIVATE_KEY"],
  ["KEY_ID", "PRIVATE_KEY"],
  ["TOKEN_ENDPOINT_AUTH_METHOD", "CLIENT_ID"],
  ["TOKEN_ENDPOINT_AUTH_METHOD", ...credentials],
  ["TOKEN_ENDPOINT", ...credentials],
  ["RESOURCE", ...credentials],
  ["AUDIENCE", "WORKLOAD", "PRIVATE_KEY"],
  ["CLIENT_CERTIFICATE", "CLIENT_CERTIFICATE_KEY"],
  ["CLIENT_CERTIFICATE_KEY", "CLIENT_CERTIFICATE"],
  ["CLIENT_CERTIFICATE_CA", "CLIENT_CERTIFICATE"],
  ["ID_TOKEN", "IDP_ISSUER", "WORKLOAD"],
  ["IDP_ISSUER", "CLIENT_ID"],
  ["IDP_ISSUER", "IDP_CLIENT_ID"],
  ["IDP_ISSUER", "ID_TOKEN"],
  ["IDP_CLIENT_ID", "IDP_ISSUER"],
  ["IDP_CLIENT_SECRET", "IDP_ISSUER"],
];

/** What cannot be at the same time. */
const excluding: readonly [Name, Name][] = [
  ["CLIENT_SECRET", "PRIVATE_KEY"],
  ["WORKLOAD", "CLIENT_SECRET"],
  ["WORKLOAD", "PRIVATE_KEY"],
  ["WORKLOAD", "IDP_ISSUER"],
];

/** The secret that each method authenticates with. */
const methods: Readonly<Record<MachineAuthMethod, SecretName | undefined>> = {
  none: undefined,
  client_secret_basic: "CLIENT_SECRET",
  client_secret_post: "CLIENT_SECRET",
  private_key_jwt: "PRIVATE_KEY",
  tls_client_auth: "CLIENT_CERTIFICATE",
  self_signed_tls_client_auth: "CLIENT_CERTIFICATE",
};

const urls: readonly TextName[] = ["SERVER_URL", "ISSUER", "TOKEN_ENDPOINT", "RESOURCE", "IDP_ISSUER"];

/**
 * Reads `MCP_AUTH_*`, and says everything that is wrong at once.
 *
 * @throws McpAuthError `invalid_environment`, which names variables and no values
 */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const problems: string[] = [];
  const texts: Settings["texts"] = {};
  const secrets: Settings["secrets"] = {};
  for (const name of textNames) {
    const value = env[prefix + name]?.trim();
    if (value) texts[name] = value;
  }
  // One that cannot be read is reported once: it does not count as missing.
  const unreadable = new Set<Name>();
  for (const name of secretNames) {
    const secret = findSecret(env, name, (problem) => {
      unreadable.add(name);
      problems.push(problem);
    });
    if (secret && !unreadable.has(name)) secrets[name] = secret;
  }
  const has: Has = (name) => name in texts || name in secrets || unreadable.has(name);
  // With a certificate alone a user may log in at a server that asks for one.
  const isMachine = credentials.some((name) => has(name) && (name !== "CLIENT_CERTIFICATE" || has("CLIENT_ID")));
  problems.push(...missing(has), ...contradictions(has), ...unusable(texts, secrets, has), ...unknownVariables(env, isMachine));
  const { SERVER_URL: serverUrl } = texts;
  if (serverUrl === undefined || problems.length > 0) throw new McpAuthError("invalid_environment", { detail: problems.join("; ") });
  return { serverUrl, isMachine, texts, secrets };
}

function missing(has: Has): string[] {
  const server = has("SERVER_URL") ? [] : [`${prefix}SERVER_URL is missing`];
  const others = needs.filter(([name, ...oneOf]) => has(name) && !oneOf.some(has));
  return [...server, ...others.map(([name, ...oneOf]) => `${prefix}${name} needs ${oneOf.map((other) => prefix + other).join(" or ")}`)];
}

function contradictions(has: Has): string[] {
  return excluding.filter((pair) => pair.every(has)).map(([one, other]) => `${prefix}${one} and ${prefix}${other} exclude each other`);
}

function unusable(texts: Settings["texts"], secrets: Settings["secrets"], has: Has): string[] {
  const { WORKLOAD: workload, ACCOUNT: account = "", TOKEN_ENDPOINT_AUTH_METHOD: method } = texts;
  const problems = urls.filter((name) => texts[name] && !URL.canParse(texts[name])).map((name) => `${prefix}${name} is not a valid URL`);
  for (const name of ["PRIVATE_KEY", "CLIENT_CERTIFICATE", "CLIENT_CERTIFICATE_KEY", "CLIENT_CERTIFICATE_CA"] as const) {
    const value = secrets[name]?.() ?? "-----BEGIN";
    const isJwk = name === "PRIVATE_KEY" && value.trimStart().startsWith("{");
    if (!value.includes("-----BEGIN") && !isJwk) problems.push(`${prefix}${name} is not a PEM (a path belongs into ${prefix}${name}_FILE)`);
  }
  // A command is not taken from here: who may set variables need not be who may say what runs.
  if (workload && !/^(github|gitlab|kubernetes|file:.+)$/.test(workload))
    problems.push(`${prefix}WORKLOAD must be github, gitlab, kubernetes or file:<path>`);
  if (workload && workload !== "github" && has("AUDIENCE"))
    problems.push(`${prefix}AUDIENCE has no effect, because the workload's token is made elsewhere`);
  if (account.includes("/")) problems.push(`${prefix}ACCOUNT holds a slash`);
  if (method && !Object.hasOwn(methods, method))
    problems.push(`${prefix}TOKEN_ENDPOINT_AUTH_METHOD must be one of ${Object.keys(methods).join(", ")}`);
  const secret = methods[method as MachineAuthMethod];
  if (secret && !has(secret)) problems.push(`${prefix}TOKEN_ENDPOINT_AUTH_METHOD needs ${prefix}${secret}`);
  return problems;
}
