import { lacksState } from "../../../authorization/response.ts";
import type { McpAuthError } from "../../../errors.ts";

/** How a login ended, for the page in the user's browser. */
export interface LoginOutcome {
  /**
   * - `success`: the code has been exchanged and the login is usable.
   * - `denied`: the user or the authorization server said no.
   * - `failed`: anything else went wrong; `error` says what.
   * - `expired`: the program no longer waits.
   * - `foreign`: the response belongs to another login (wrong `state`); this one goes on.
   * - `finished`: the login had already ended before this response came.
   */
  kind: "success" | "denied" | "failed" | "expired" | "foreign" | "finished";
  /** The protected MCP server that the login is for. */
  serverUrl: string;
  /** The program that the user should go back to. */
  clientName: string | undefined;
  /** Why it failed. Its texts may come from a server: escape them. */
  error: McpAuthError | undefined;
}

/** Renders a whole HTML document. Its inline style and `data:` images are allowed, scripts and anything remote are not. */
export type LoginPage = (outcome: LoginOutcome) => string;

/** What is sent to the browser. */
export interface Answer {
  status: number;
  html: string;
  /** `Content-Security-Policy` that allows exactly what `html` needs. */
  csp: string;
}

/** The code has been used, but it does not belong into the history, nor into a screenshot of the address bar. */
const cleanAddress = "history.replaceState(null,'',location.pathname)";

/** Turns an outcome into an answer: the app's page when it has one, else ours. */
export async function answerFor(outcome: LoginOutcome, page?: LoginPage): Promise<Answer> {
  let html: string | undefined;
  let styleSource = "'unsafe-inline'";
  try {
    html = page?.(outcome);
  } catch {
    // A mistake in the app's page must not cost the user the answer.
  }
  if (typeof html !== "string") {
    html = loginPage(outcome);
    styleSource = await hashSource(style);
  }
  return {
    // A page for a user in any case, but programs that play the browser see at once how it went.
    status: outcome.kind === "success" || outcome.kind === "finished" ? 200 : 400,
    html: `${html}<script>${cleanAddress}</script>`,
    csp:
      `default-src 'none'; style-src ${styleSource}; img-src data:; script-src ${await hashSource(cleanAddress)}; ` +
      "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  };
}

/** The page for each outcome: quiet, without anything external, readable on a phone and in the dark. */
function loginPage(outcome: LoginOutcome): string {
  const app = outcome.clientName ? escapeHtml(outcome.clientName) : "the program that asked for it";
  const isUnmatched = outcome.kind === "foreign" && lacksState(outcome.error);
  const [tone, title, text] = isUnmatched ? unmatched(app) : texts(app)[outcome.kind];
  const host = URL.canParse(outcome.serverUrl) ? escapeHtml(new URL(outcome.serverUrl).host) : "";
  const { error } = outcome;
  // A plain "no" is explained by its title.
  const tells = isUnmatched || outcome.kind === "failed" || (outcome.kind === "denied" && error?.serverDescription);
  const reason =
    error && tells
      ? `<div class="reason"><p>${escapeHtml(error.message)}</p><p>${escapeHtml(error.hint)}</p><p><code>${error.code}</code></p></div>`
      : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title}</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon(tone, colors[tone]))}">
<style>${style}</style>
</head>
<body class="${tone}">
<main>
${icon(tone, "currentColor")}
<div role="status"><h1>${title}</h1><p>${text}</p>${reason}</div>
${host && `<footer>MCP server <b>${host}</b></footer>`}
</main>
</body>
</html>
`;
}

type Tone = "good" | "bad" | "calm";

function texts(app: string): Record<LoginOutcome["kind"], [tone: Tone, title: string, text: string]> {
  return {
    success: ["good", "You’re logged in", `You can close this window and go back to ${app}.`],
    denied: ["calm", "Access was not allowed", `Nothing was shared with ${app}. To try again, start the login there.`],
    failed: ["bad", "The login did not work", `You can close this window. Start the login again from ${app}.`],
    expired: ["calm", "This login has expired", `Nobody is waiting for it any more. Start the login again from ${app}.`],
    foreign: [
      "bad",
      "This page belongs to another login",
      `The newest login is still waiting: go on in its window, or start again from ${app}.`,
    ],
    finished: ["calm", "This login has already finished", "There is nothing left to do here. You can close this window."],
  };
}

/** The user has done everything; whoever sent the browser here has left out what says for which login. */
function unmatched(app: string): ReturnType<typeof texts>["foreign"] {
  return ["bad", "This answer belongs to no login", `It came without “state”, so ${app} cannot use it and is still waiting.`];
}

const colors: Record<Tone, string> = { good: "#1f883d", bad: "#d1242f", calm: "#6e7781" };

const marks: Record<Tone, string> = {
  good: '<path d="m15.5 24.5 6 6 11.5-13"/>',
  bad: '<path d="M24 14.5v11.5M24 33v.2"/>',
  calm: '<path d="M16 24h16"/>',
};

function icon(tone: Tone, color: string): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" viewBox="0 0 48 48" fill="none" stroke="${color}" stroke-width="3.5" ` +
    `stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="24" cy="24" r="21.5" stroke-width="2.5"/>${marks[tone]}</svg>`
  );
}

const style = `
:root{color-scheme:light dark;--page:#f6f8fa;--card:#fff;--line:#d8dee4;--text:#1f2328;--soft:#57606a;--good:#1a7f37;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--line:#30363d;--text:#e6edf3;--soft:#9da7b1;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100svh;display:grid;place-items:center;padding:20px;background:var(--page);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{width:100%;max-width:30rem;padding:44px 40px 32px;background:var(--card);border:1px solid var(--line);border-radius:14px;text-align:center;
overflow-wrap:anywhere}
svg{display:block;margin:0 auto 20px;color:var(--soft)}
.good svg{color:var(--good)}
.bad svg{color:var(--bad)}
h1{margin:0 0 8px;font-size:1.5rem;line-height:1.25;font-weight:600;letter-spacing:-.01em;text-wrap:balance}
p{margin:0;color:var(--soft);text-wrap:balance}
.reason{margin-top:24px;padding:16px 18px;border:1px solid var(--line);border-radius:8px;background:var(--page);text-align:left;font-size:.9375rem}
.reason p{text-wrap:pretty}
.reason p+p{margin-top:8px}
.reason p:first-child{color:var(--text)}
code{font:.8125rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{margin-top:32px;padding-top:16px;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}
footer b{font-weight:600;color:var(--text)}
@media (max-width:480px){main{padding:36px 22px 24px}}
`;

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A CSP source that allows exactly this inline text. */
async function hashSource(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}
