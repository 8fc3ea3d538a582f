import { McpAuthError } from "../errors.ts";

/**
 * A place in the app, as an absolute URL.
 *
 * @param app its origin decides
 * @param returnTo a path, or a URL at the same origin
 * @throws McpAuthError `invalid_option` for any other place
 * @see RFC 9700 §4.11 (open redirection)
 */
export function placeInApp(app: URL, returnTo: string): string {
  const target = URL.parse(returnTo, app.origin);
  // Parsers drop line breaks and tabs, and take a backslash for a slash: what they make of it is not what somebody wrote.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  const isPlain = !/[\u0000-\u0020\u007f\\]/.test(returnTo) && (returnTo.startsWith("/") || /^https?:\/\//i.test(returnTo));
  const isHere = target?.origin === app.origin && !target.username && !target.password;
  if (!target || !isPlain || !isHere || target.pathname.startsWith("//"))
    throw new McpAuthError("invalid_option", { detail: "`returnTo` must be a path of the app, such as `/settings`" });
  return target.href;
}
