/** Pages that a user sees at the end of a login: quiet, without anything external, readable on a phone and in the dark. */

export type Tone = "good" | "bad" | "calm";

/** What a page says. Everything in it is text, and is escaped here. */
export interface PageContent {
  tone: Tone;
  title: string;
  text: string;
  /** Why it failed, and what can be done about it: lines, and a code for those who are asked. */
  reason?: { lines: readonly string[]; code: string } | undefined;
  /** Where the user can go on. */
  link?: { href: string; text: string } | undefined;
  /** The protected server's host. */
  server?: string | undefined;
}

/** A whole HTML document. */
export function renderPage({ tone, title, text, reason, link, server }: PageContent): string {
  const lines = reason && [...reason.lines.map(escapeHtml), `<code>${escapeHtml(reason.code)}</code>`];
  const why = lines ? `<div class="reason">${lines.map((line) => `<p>${line}</p>`).join("")}</div>` : "";
  const onward = link ? `<p class="onward"><a href="${escapeHtml(link.href)}">${escapeHtml(link.text)}</a></p>` : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon(tone, colors[tone]))}">
<style>${style}</style>
</head>
<body class="${tone}">
<main>
${icon(tone, "currentColor")}
<div role="status"><h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p>${why}${onward}</div>
${server ? `<footer>MCP server <b>${escapeHtml(server)}</b></footer>` : ""}
</main>
</body>
</html>
`;
}

/** The CSP source that allows the style of {@link renderPage}, and nothing else inline. */
export const styleSource = (): Promise<string> => hashSource(style);

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
.onward{margin-top:24px}
a{color:inherit;font-weight:600}
footer{margin-top:32px;padding-top:16px;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}
footer b{font-weight:600;color:var(--text)}
@media (max-width:480px){main{padding:36px 22px 24px}}
`;

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A CSP source that allows exactly this inline text. */
export async function hashSource(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}
