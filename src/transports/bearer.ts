/** Headers that present an access token. @see RFC 6750 §2.1 */
export function bearerHeaders(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

/** The access token in headers. */
export function bearerToken({ authorization }: Readonly<Record<string, string>>): string | undefined {
  return authorization?.replace(/^Bearer /i, "");
}
