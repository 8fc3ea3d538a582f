/** Some servers refuse a request without scopes, others one with a scope that this client may not have. */
const aboutScopes =
  "Name the scopes that are missing in `scopes`. Where one that was asked for is refused, name all others in `authorizationParameters: { scope }`.";
const aboutResource =
  "Where the server does not take the `resource` parameter, set `resourceParameter: false`; tokens are not bound to this server then. Else ask its operator to allow this resource.";

/** The option that may help against a refusal, by the server's own words. */
export function hintFor(error: string | undefined, description: string | undefined): string | undefined {
  // Entra ID says in the description what it means.
  if (error === "invalid_target" || /\bresource\b.*(parameter|scope)|AADSTS9010010/i.test(description ?? "")) return aboutResource;
  return error === "invalid_scope" || /\bscopes?\b/i.test(description ?? "") ? aboutScopes : undefined;
}
