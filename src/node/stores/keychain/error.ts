import { McpAuthError, type McpAuthErrorCode } from "../../../errors.ts";

/**
 * Messages of the libraries on macOS (Security framework), Windows and the Secret Service. They share no codes. A dismissed
 * prompt to unlock a collection counts as a locked keychain: it says nothing about the entry.
 */
const patterns: readonly [RegExp, McpAuthErrorCode][] = [
  [/\block(ed)?\b|unlock|-25308\b|interaction is not allowed/i, "keychain_locked"],
  [/cancell?ed|-128\b|-25293\b|passphrase you entered is not correct|denied|not permitted|dismissed|\b1223\b/i, "keychain_refused"],
  [/did not receive a reply|timed out|timeout (expired|was reached)/i, "keychain_timeout"],
];

/** What a keychain's error means. */
export function keychainError(name: string, cause: unknown): McpAuthError {
  const text = cause instanceof Error ? cause.message : String(cause);
  const [, code = "keychain_unavailable"] = patterns.find(([pattern]) => pattern.test(text)) ?? [];
  return new McpAuthError(code, { detail: name, cause });
}

/** Whether the keychain failed, and not the disk or a lock. */
export function isKeychainError(error: unknown): error is McpAuthError {
  return error instanceof McpAuthError && error.code.startsWith("keychain_");
}
