import { McpAuthError } from "../errors.ts";

/**
 * Checks that a header can carry a value, because the error of `fetch` would quote it.
 *
 * @param option name of the option, for the message
 * @throws McpAuthError `invalid_option`
 */
export function headerSafe(value: unknown, option: string): string {
  if (typeof value !== "string" || value.trim() === "") throw new McpAuthError("invalid_option", { detail: `\`${option}\` is empty` });
  if (value !== value.trim() || !/^[\x20-\x7e]+$/.test(value)) {
    const detail = `\`${option}\` holds a line break, a space at an end, or a character beyond ASCII`;
    throw new McpAuthError("invalid_option", { detail, hint: "Trim what comes from a file." });
  }
  return value;
}

/**
 * Calls the app's function. Its failure becomes a `McpAuthError`, which the SDKs pass on unchanged.
 *
 * @throws McpAuthError `credential_unavailable`, or the `McpAuthError` that the function threw
 */
export async function ask<T>(source: () => T | Promise<T>, option: string, serverUrl: URL): Promise<T> {
  try {
    return await source();
  } catch (cause) {
    if (cause instanceof McpAuthError) throw cause;
    throw new McpAuthError("credential_unavailable", { serverUrl: serverUrl.href, detail: `the function \`${option}\` failed`, cause });
  }
}
