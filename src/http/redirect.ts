/** The target of a redirect; `null` when it is hidden, `undefined` when the response is not a redirect. @see RFC 9110 §15.4 */
export function redirectTarget(response: Response, from: URL): URL | null | undefined {
  // Browsers hide the target of a redirect that is not to be followed.
  if (response.type === "opaqueredirect") return null;
  const location = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location");
  return location ? URL.parse(location, from) : undefined;
}
