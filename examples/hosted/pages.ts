const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
const title = "Acme Agents";

const style = `
:root{color-scheme:light dark}
body{max-width:38rem;margin:3rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}
section{margin:1.25rem 0;padding:1rem 1.25rem;border:1px solid color-mix(in srgb,currentColor 22%,transparent);border-radius:10px}
h2{margin:0 0 .5rem;font-size:1.05rem}
form{display:inline-block;margin:.25rem .5rem .25rem 0}
button,input{font:inherit;padding:.35rem .8rem;border-radius:6px;border:1px solid color-mix(in srgb,currentColor 35%,transparent)}
input{width:5rem}
small{opacity:.75}
code{font-size:.9em}
`;

const button = (action: string, text: string, fields = "") =>
  `<form method="post" action="${escapeHtml(action)}">${fields}<button>${escapeHtml(text)}</button></form>`;

const page = (body: string, machine: string) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><link rel="icon" href="data:,"><style>${style}</style></head>
<body><h1>${title}</h1>${body}<p><small>Answered by machine ${escapeHtml(machine)}.</small></p></body></html>`;

/** Before anybody has signed in. */
export const signInPage = (users: readonly string[], machine: string) =>
  page(
    `<section><h2>Sign in</h2>${users.map((user) => button("/sign-in", `I am ${user}`, `<input type="hidden" name="user" value="${escapeHtml(user)}">`)).join("")}</section>`,
    machine,
  );

/** What a signed-in user sees. */
export interface Home {
  user: string;
  serverUrl: string;
  /** What a connected server offers; `undefined`: it is not connected. */
  tools?: readonly string[] | undefined;
  /** Who the server says that the user is. */
  subject?: string | undefined;
  /** What the last call has brought. */
  result?: string | undefined;
}

export const homePage = ({ user, serverUrl, tools, subject, result }: Home, machine: string) =>
  page(
    `<p>Signed in as <b id="user">${escapeHtml(user)}</b>. ${button("/sign-out", "Sign out")}</p>
<section><h2>MCP server <code>${escapeHtml(new URL(serverUrl).host)}</code></h2>${tools ? connected(tools, subject, result) : `<p id="state">Not connected.</p>${button("/mcp/connect?returnTo=/", "Connect")}`}</section>`,
    machine,
  );

const connected = (tools: readonly string[], subject = "", result?: string) =>
  `<p id="state">Connected, as <b>${escapeHtml(subject)}</b> there. Tools: <span id="tools">${escapeHtml(tools.join(", "))}</span>.</p>
<form method="post" action="/add"><input name="a" type="number" value="2" aria-label="a"> + <input name="b" type="number" value="3" aria-label="b"> <button>Add</button></form>
${result === undefined ? "" : `<p>The server says: <b id="result">${escapeHtml(result)}</b></p>`}
<p>${button("/mcp/disconnect?returnTo=/", "Disconnect")}</p>`;
