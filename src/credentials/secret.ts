import { McpAuthError } from "../errors.ts";

/** A secret, or a function that fetches it. */
export type Source<T> = T | (() => T | Promise<T>);

/**
 * The value, if a header can carry it. What `fetch` says of one that cannot holds the value itself.
 *
 * @param option the option that it came from
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
 * Asks the app's function, whose failures become ours, so that they pass through the SDKs as they are.
 *
 * @throws McpAuthError `credential_unavailable`, or what the function threw if it is one of ours
 */
export async function ask<T>(source: () => T | Promise<T>, option: string, serverUrl: URL): Promise<T> {
  try {
    return await source();
  } catch (cause) {
    if (cause instanceof McpAuthError) throw cause;
    throw new McpAuthError("credential_unavailable", { serverUrl: serverUrl.href, detail: `the function \`${option}\` failed`, cause });
  }
}
