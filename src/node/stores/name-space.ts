import { McpAuthError } from "../../errors.ts";

/** What programs share logins. */
export interface AppOptions {
  /**
   * Name space: programs share logins only when all give the same. Any name that a folder can have. Default: the name of the
   * package that the program belongs to, without one its folder; `status()` and `store.opened` say which.
   */
  app?: string | undefined;
}

/**
 * The name becomes a folder's.
 *
 * @throws McpAuthError `invalid_option`
 */
export function checkApp({ app }: AppOptions): void {
  if (app === undefined || isAppName(app)) return;
  const detail = "`app` must be the name of a folder: at most 100 characters, no slashes, no dot or space at either end";
  throw new McpAuthError("invalid_option", { detail });
}

/** Whether every file system takes it for a folder. */
export function isAppName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are among what Windows forbids
  return /^(?![. ])[^\u0000-\u001f\u007f/\\:*?"<>|]{1,100}(?<![. ])$/.test(name);
}
