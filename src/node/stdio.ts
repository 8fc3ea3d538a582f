import { McpAuthError } from "../errors.ts";
import { checkOptions, needed, type Rules, record, text, texts } from "../options.ts";

/**
 * A secret for a child process, which keeps it for its whole life: text, a function that fetches it, or something that has
 * a token (`TokenManager`, `MachineTokenManager`, `BearerCredential`).
 */
export type StdioCredential =
  | string
  | {
      /** The token of now. */
      getAccessToken(): Promise<string>;
    }
  | (() => string | Promise<string>);

/** Options of {@link stdioServer}. */
export interface StdioServerOptions {
  /** The server's program. */
  command: string;
  /** Its arguments, which everybody on the machine can read. */
  args?: readonly string[] | undefined;
  /** Secrets, by the name of the environment variable in which the server expects them. */
  credentials?: Readonly<Record<string, StdioCredential>> | undefined;
  /** Further variables that the child gets from this process; those that do not exist are left out. */
  inherit?: readonly string[] | undefined;
  /** Folder in which the server runs. */
  cwd?: string | undefined;
}

export const stdioRules = (): Rules<StdioServerOptions> => ({
  command: needed(text),
  // Others than ours, an argument may be empty.
  args: ["an array of texts", (value) => Array.isArray(value) && value.every((argument) => typeof argument === "string")],
  credentials: record,
  inherit: texts,
  cwd: text,
});

/** What the SDKs' `StdioClientTransport` takes. */
export interface StdioServer {
  /** The server's program. */
  command: string;
  /** Its arguments. */
  args: string[];
  /** What is named, and nothing else; the SDKs add their own short list (`PATH`, `HOME` and the like). */
  env: Record<string, string>;
  /** Folder in which the server runs. */
  cwd?: string;
}

/**
 * Credentials for a server that is a child process: in its environment, where only it and its user can read them. Only what
 * is named goes there; nothing of it may be in the arguments.
 *
 * @throws McpAuthError `invalid_option` for a name or value that cannot be, a name twice, a secret in command or arguments;
 *   what fetching a secret throws
 * @see MCP, Authorization: stdio servers take credentials from the environment
 * @example
 * ```ts
 * const server = await stdioServer({ command: "acme-mcp", credentials: { ACME_TOKEN: token }, inherit: ["HTTPS_PROXY"] });
 * await client.connect(new StdioClientTransport(server));
 * ```
 */
export async function stdioServer(options: StdioServerOptions): Promise<StdioServer> {
  checkOptions(options, stdioRules());
  const { command, args = [], credentials = {}, inherit = [], cwd } = options;
  for (const name of [...Object.keys(credentials), ...inherit]) checkName(name);
  const both = inherit.find((name) => Object.hasOwn(credentials, name));
  if (both) throw new McpAuthError("invalid_option", { detail: `${both} is in \`credentials\` and in \`inherit\`` });

  const inherited = inherit.map((name) => [name, process.env[name]] as const);
  const secrets = await Promise.all(Object.entries(credentials).map(async ([name, given]) => [name, await secretOf(name, given)] as const));
  for (const [name, value] of secrets) checkHidden(name, value, [command, ...args]);
  return {
    command,
    args: [...args],
    env: Object.fromEntries([...inherited, ...secrets].filter((entry): entry is [string, string] => entry[1] !== undefined)),
    ...(cwd !== undefined && { cwd }),
  };
}

function checkName(name: string): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    // It is not shown: name and secret may have changed places.
    throw new McpAuthError("invalid_option", {
      detail: "`credentials` or `inherit` holds something else than names of environment variables",
    });
  }
}

async function secretOf(name: string, given: StdioCredential): Promise<string> {
  const value: unknown = typeof given === "function" ? await given() : typeof given === "object" ? await given?.getAccessToken?.() : given;
  if (typeof value !== "string" || value === "" || value.includes("\0")) {
    throw new McpAuthError("invalid_option", { detail: `the value for ${name} is empty, not a string, or holds a NUL character` });
  }
  return value;
}

/** Refuses a secret that is in the command line, too. A short one may be there by chance: it must be a whole value. */
function checkHidden(name: string, secret: string, commandLine: readonly string[]): void {
  const shows = (part: string) => (secret.length < 8 ? part === secret || part.endsWith(`=${secret}`) : part.includes(secret));
  if (commandLine.some(shows)) {
    throw new McpAuthError("invalid_option", { detail: `the value for ${name} is in \`command\` or \`args\`, which everybody can read` });
  }
}
