import { deadline } from "../../async.ts";
import { McpAuthError } from "../../errors.ts";
import type { AssertionRequest } from "../assertion.ts";
import { checkedAssertion, maxAssertionBytes, unavailable } from "./checked-assertion.ts";

/** How a command is run. */
export interface AssertionCommandOptions {
  /** Time that it may take, in milliseconds. Default 20,000. */
  timeoutMs?: number | undefined;
  /** Its environment. Default: this process's. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Whose assertions it prints: tells workloads apart in a shared store. */
  identity?: string | undefined;
}

/** Runs a command, which prints an assertion. */
export async function commandAssertion(
  [file, ...args]: readonly [string, ...string[]],
  { timeoutMs = 20_000, env = process.env }: AssertionCommandOptions,
  { clock, signal }: AssertionRequest,
): Promise<string> {
  const tooLate = () => new McpAuthError("timeout", { party: "machine", detail: `\`${file}\`, ${timeoutMs} ms` });
  const limit = deadline(clock, timeoutMs, tooLate, signal);
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
      // Node's error quotes the arguments and everything that was printed.
      reject(signal.aborted ? signal.reason : unavailable(`\`${file}\` ${failure(error)}${complaint(stderr)}`));
    });
    // A command that asks for something must not wait for an answer.
    child.stdin?.end();
  });
}

function failure({ code, signal }: Pick<import("node:child_process").ExecFileException, "code" | "signal">): string {
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `printed more than ${maxAssertionBytes} bytes`;
  if (typeof code === "string") return `cannot be started (${code})`;
  return signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
}

/** What looks like a token, a header, a key or a setting that holds one. */
const secretive = /\beyJ[\w-]|-----BEGIN|\b(bearer|basic) +\S{8}|(secret|token|password|passwd|key)["']? *[=:] *["']?\S{8}/i;

/** The end of what it says is wrong, unless that holds a secret. */
function complaint(stderr: string): string {
  const text = stderr.trim();
  return text === "" || secretive.test(text) ? "" : `: ${text.slice(-300)}`;
}
