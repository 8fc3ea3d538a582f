/** Where an answer leads to; `null` when nobody can tell, `undefined` when it is no redirect. @see RFC 9110 §15.4 */
export function redirectTarget(response: Response, from: URL): URL | null | undefined {
  // Browsers hide everything about a redirect that they are told not to follow.
  if (response.type === "opaqueredirect") return null;
  const location = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location");
  return location ? URL.parse(location, from) : undefined;
}
