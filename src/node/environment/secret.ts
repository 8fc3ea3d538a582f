import { McpAuthError } from "../../errors.ts";
import { fs } from "../builtins.ts";
import { prefix, type SecretName } from "./variables.ts";

/** Keys, certificates and tokens are far below. */
const maxBytes = 64 * 1024;

/** What a secret is now: one in a file may be replaced while the program runs. @throws McpAuthError `invalid_environment` */
export type Secret = () => string;

/**
 * A secret from its variable or from the file that `…_FILE` names, which is read once to see that it can be.
 *
 * @param wrong receives what is wrong: the variable and the path, nothing of the file
 * @returns `undefined` when there is none
 */
export function findSecret(env: NodeJS.ProcessEnv, name: SecretName, wrong: (problem: string) => void): Secret | undefined {
  const variable = prefix + name;
  const value = trimmed(env[variable]);
  const path = env[`${variable}_FILE`]?.trim();
  if (!path) return value === "" ? undefined : () => value;
  if (value !== "") wrong(`${variable} and ${variable}_FILE exclude each other`);
  const { problem } = readSecret(path);
  if (problem) wrong(`${variable}_FILE: ${path} ${problem}`);
  return () => {
    const { value, problem } = readSecret(path);
    if (problem) throw new McpAuthError("invalid_environment", { detail: `${variable}_FILE: ${path} ${problem}` });
    return value;
  };
}

function readSecret(path: string): { value: string; problem?: string } {
  const unusable = (problem: string) => ({ value: "", problem });
  try {
    const found = fs.statSync(path);
    // Reading a pipe may take for ever, and works once.
    if (!found.isFile()) return unusable("is not a file");
    if (found.size > maxBytes) return unusable(`is larger than ${maxBytes} bytes`);
    const value = trimmed(fs.readFileSync(path, "utf8"));
    return value === "" ? unusable("is empty") : { value };
  } catch (error) {
    return unusable(`cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Editors and `echo` end what they write with a line break. */
function trimmed(text = ""): string {
  return text.replace(/[\r\n]+$/, "");
}
