/**
 * Whether a page of the app itself has made a request: no other site may begin or end a user's login.
 *
 * Browsers say it in `Sec-Fetch-Site`; older ones name the page's origin. Who says neither is refused.
 *
 * @see RFC 9700 §4.7 (cross-site request forgery); Fetch Metadata Request Headers
 */
export function isFromApp(request: Request, app: URL): boolean {
  const site = request.headers.get("sec-fetch-site");
  return site === null ? request.headers.get("origin") === app.origin : site === "same-origin";
}
