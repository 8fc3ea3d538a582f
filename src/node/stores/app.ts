import { McpAuthError } from "../../errors.ts";

/** What programs share logins. */
export interface AppOptions {
  /**
   * Name space: programs share logins only when all give the same. Letters, digits, spaces and `@+._-`. Default: the name of
   * the package that the program belongs to.
   */
  app?: string | undefined;
}

/**
 * The name becomes a folder's.
 *
 * @throws McpAuthError `invalid_option`
 */
export function checkApp({ app }: AppOptions): void {
  if (app === undefined || /^[\p{L}\p{N}@_][\p{L}\p{N}@+._ -]{0,99}$/u.test(app)) return;
  const detail = "`app` may hold letters, digits, spaces and `@+._-`, and begins with none of `+.-` or a space";
  throw new McpAuthError("invalid_option", { detail });
}
