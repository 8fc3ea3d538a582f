/**
 * Whether a page of the application itself has made a request: no other site may begin or end a user's login.
 *
 * Browsers say it in `Sec-Fetch-Site`; older ones name the page's origin. Who says neither is refused.
 *
 * @see RFC 9700 §4.7 (cross-site request forgery); Fetch Metadata Request Headers
 */
export function isFromApplication(request: Request, application: URL): boolean {
  const site = request.headers.get("sec-fetch-site");
  return site === null ? request.headers.get("origin") === application.origin : site === "same-origin";
}
