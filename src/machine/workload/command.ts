import { deadline } from "../../async.ts";
import { McpAuthError } from "../../errors.ts";
import type { AssertionRequest } from "../assertion.ts";
import { checkedAssertion, maxAssertionBytes, unavailable } from "./checked-assertion.ts";

/** Options of {@link assertionCommand}. */
export interface AssertionCommandOptions {
  /** How long the command may take, in ms. Default 20,000. */
  commandTimeout?: number | undefined;
  /** Its environment. Default: this process's. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Whose assertions it prints. It separates workloads in a shared store. */
  identity?: string | undefined;
}

/** Runs a command that prints an assertion. */
export async function commandAssertion(
  [file, ...args]: readonly [string, ...string[]],
  { commandTimeout = 20_000, env = process.env }: AssertionCommandOptions,
  { clock, signal }: AssertionRequest,
): Promise<string> {
  const tooLate = () => new McpAuthError("timeout", { party: "machine", detail: `\`${file}\`, ${commandTimeout} ms` });
  const limit = deadline(clock, commandTimeout, tooLate, signal);
  try {
    return checkedAssertion(await run(file, args, env, limit.signal), `the output of \`${file}\``);
  } finally {
    limit.stop();
  }
}

function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<string> {
  const { execFile } = process.getBuiltinModule("node:child_process");
  return new Promise((resolve, reject) => {
    const options = { env, signal, maxBuffer: maxAssertionBytes, killSignal: "SIGKILL", windowsHide: true, encoding: "utf8" } as const;
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      // Not Node's error: it quotes the arguments and the output.
      reject(signal.aborted ? signal.reason : unavailable(`\`${file}\` ${failure(error)}${complaint(stderr)}`));
    });
    // A command that reads its input must not wait for it.
    child.stdin?.end();
  });
}

function failure({ code, signal }: Pick<import("node:child_process").ExecFileException, "code" | "signal">): string {
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `printed more than ${maxAssertionBytes} bytes`;
  if (typeof code === "string") return `cannot be started (${code})`;
  return signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
}

/** Text that looks like a token, a header, a key, or a setting that holds one. */
const secretive = /\beyJ[\w-]|-----BEGIN|\b(bearer|basic) +\S{8}|(secret|token|password|passwd|key)["']? *[=:] *["']?\S{8}/i;

/** The end of the error output, unless it seems to hold a secret. */
function complaint(stderr: string): string {
  const text = stderr.trim();
  return text === "" || secretive.test(text) ? "" : `: ${text.slice(-300)}`;
}
