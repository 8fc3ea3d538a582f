/** The URL of a `fetch` call. */
export function addressOf(input: string | URL | Request): URL {
  return new URL(typeof input === "object" && "url" in input ? input.url : input);
}
