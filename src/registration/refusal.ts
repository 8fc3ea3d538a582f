import { McpAuthError } from "../errors.ts";
import { firewall } from "../http/fault.ts";
import { explanation, text } from "../http/json.ts";

/** What a refused registration had asked for. */
interface Asked {
  issuer: string;
  redirectUris: readonly string[];
  scopes: readonly string[] | undefined;
}

/** What a refusal is about, as far as its words say. */
type Subject = "redirect URIs" | "scopes" | "client name" | "access";

/** What may help, and what helps in any case. */
function hintFor(subject: Subject): string {
  const byHand = "register a client there by hand and pass its `clientId`.";
  const hints: Readonly<Record<Subject, string>> = {
    "redirect URIs": `Set \`redirectHost\` or \`redirectUris\` to what the server accepts. Or: ${byHand}`,
    scopes: `Set \`scopes\` to those that the server knows. Or: ${byHand}`,
    "client name": `Only certain clients may register there: ${byHand}`,
    access: `Registration is not open to everybody there: ${byHand}`,
  };
  return hints[subject];
}

/** The error for a server that did not register this client: what it said, and what may help. */
export function refusalOf(
  response: Response,
  body: Readonly<Record<string, unknown>>,
  { issuer, redirectUris, scopes }: Asked,
): McpAuthError {
  const { status } = response;
  const said = { serverError: text(body.error), serverDescription: explanation(body) };
  if (response.ok) return new McpAuthError("registration_refused", { issuer, status, ...said, detail: "the response has no `client_id`" });
  const blocked = firewall(response);
  if (blocked) return new McpAuthError("registration_refused", { issuer, status, ...said, ...blocked });
  const subject = subjectOf(status, said);
  const asked = subject === "redirect URIs" ? `the redirect URIs were ${redirectUris.join(" and ")}` : undefined;
  const detail = subject === "scopes" && scopes ? `the scopes were ${scopes.join(" ")}` : asked;
  return new McpAuthError("registration_refused", { issuer, status, ...said, detail, hint: subject && hintFor(subject) });
}

/** The error for a server that says nothing of logins, where the place that is assumed then registers nobody either. */
export function nothingPublished(origin: string, status: number): McpAuthError {
  return new McpAuthError("discovery_failed", {
    party: "server",
    status,
    detail: `the server publishes none, and ${origin}/register, the default, registers no clients`,
    hint: "If the server takes API keys or tokens of another kind, use a credential for these. If its logins are elsewhere, pass `issuer`.",
  });
}

/** Whether other redirect URIs may help. Servers name other errors for them, and firewalls respond without any. */
export function mayBeOfRedirectUris(error: unknown): boolean {
  const refusal = asRefusal(error);
  return (
    refusal !== undefined && (refusal.status === 400 || refusal.status === 403) && subjectOf(refusal.status, refusal) === "redirect URIs"
  );
}

/** Whether a registration without scopes may help: any refusal that does not say clearly that it is about something else. */
export function mayBeOfScopes(error: unknown): boolean {
  const refusal = asRefusal(error);
  if (!refusal?.status || refusal.status < 400 || refusal.status >= 500) return false;
  const said = words(refusal);
  // Without a word, 403 is more likely a firewall's.
  const isOther = [404, 405, 410].includes(refusal.status) || isWordless(error);
  return isAboutScopes(said) || !(isOther || isAboutRedirectUris(said));
}

/** A 403 that does not say what it is about. */
export function isWordless(error: unknown): boolean {
  const refusal = asRefusal(error);
  return refusal?.status === 403 && words(refusal).trim() === "";
}

function asRefusal(error: unknown): McpAuthError | undefined {
  return error instanceof McpAuthError && error.code === "registration_refused" ? error : undefined;
}

interface Said {
  serverError?: string | undefined;
  serverDescription?: string | undefined;
}

function subjectOf(status: number | undefined, said: Said): Subject | undefined {
  const text = words(said);
  if (isAboutRedirectUris(text)) return "redirect URIs";
  if (isAboutScopes(text)) return "scopes";
  if (/client.?name|software.?statement/i.test(text)) return "client name";
  if (status === 401 || (status === 403 && said.serverError !== undefined)) return "access";
  // Without a word: a firewall, which refuses loopback addresses in a body; or a server that says no reason.
  return status === 400 || status === 403 ? "redirect URIs" : undefined;
}

function words({ serverError, serverDescription }: Said): string {
  return `${serverError ?? ""} ${serverDescription ?? ""}`;
}

function isAboutRedirectUris(said: string): boolean {
  return /redirect|callback|loopback|localhost|127\.0\.0\.1|\buris?\b/i.test(said);
}

function isAboutScopes(said: string): boolean {
  return /scope/i.test(said);
}
