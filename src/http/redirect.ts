/**
 * The target of a redirect; `null` when it is hidden, `undefined` when the response is not a redirect.
 *
 * A server behind a proxy that ends TLS takes its own scheme for http: a target on the host that was asked by https stays
 * https.
 *
 * @see RFC 9110 §15.4
 */
export function redirectTarget(response: Response, from: URL): URL | null | undefined {
  // Browsers hide the target of a redirect that is not to be followed.
  if (response.type === "opaqueredirect") return null;
  const location = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location");
  const target = location ? URL.parse(location, from) : undefined;
  if (target && from.protocol === "https:" && target.protocol === "http:" && target.host === from.host) target.protocol = "https:";
  return target;
}

/** Whether a redirect only adds or removes the final slash of the path: what is asked for is the same. */
export function isSamePlace(from: URL, to: URL): boolean {
  const bare = ({ origin, pathname, search }: URL) => origin + pathname.replace(/\/$/, "") + search;
  return bare(from) === bare(to);
}

/**
 * Whether a redirect leaves method and body of a request as they are. 307 and 308 do; 301 and 302 make a GET of a POST by
 * convention, which no server means that only adds a final slash.
 *
 * @see RFC 9110 §15.4.2, §15.4.3
 */
export function keepsRequest({ status }: Response, from: URL, to: URL): boolean {
  return status === 307 || status === 308 || (status !== 303 && isSamePlace(from, to));
}
