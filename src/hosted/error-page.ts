import type { McpAuthError, McpAuthErrorCode, McpAuthErrorParty } from "../errors.ts";
import { type PageContent, renderPage, styleSource } from "../login/page.ts";
import { answerHeaders } from "./answer-headers.ts";

const titles: Partial<Record<McpAuthErrorCode, [title: string, text: string]>> = {
  authorization_denied: ["Access was not allowed", "Nothing was shared. You can try again in the app."],
  login_timeout: ["This login has expired", "It has taken too long. Start it again in the app."],
  state_mismatch: ["This page belongs to another login", "Start the login again in the app, and finish it in the same browser."],
  login_required: ["You are not signed in", "Sign in to the app, then try again."],
  token_not_required: ["No login is needed", "This server can be used as it is."],
};
const others: [title: string, text: string] = ["The login did not work", "You can start it again in the app."];

/** Titles that say it all. */
const plain: readonly McpAuthErrorCode[] = ["login_timeout", "login_required", "token_not_required"];

/** Who can do something about it: the one who asked, somebody behind this machine, or time. */
const statuses: Record<McpAuthErrorParty, number> = {
  app: 400,
  user: 400,
  machine: 503,
  network: 502,
  server: 502,
  "authorization-server": 502,
};

/** The page that tells a user why a login did not work. */
export async function errorPage(error: McpAuthError, status: number = statusOf(error)): Promise<Response> {
  const { code, message, hint, serverDescription, serverUrl } = error;
  const [title, text] = titles[code] ?? others;
  const isPlain = plain.includes(code) || (code === "authorization_denied" && serverDescription === undefined);
  return htmlResponse(status, {
    tone: code === "authorization_denied" || isPlain ? "calm" : "bad",
    title,
    text,
    reason: isPlain ? undefined : { lines: [message, hint], code },
    link: { href: "/", text: "Back to the app" },
    server: serverUrl === undefined ? undefined : URL.parse(serverUrl)?.host,
  });
}

async function htmlResponse(status: number, content: PageContent): Promise<Response> {
  const policy = [
    "default-src 'none'",
    `style-src ${await styleSource()}`,
    "img-src data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
  ];
  const headers = { ...answerHeaders, "content-type": "text/html; charset=utf-8", "content-security-policy": policy.join("; ") };
  return new Response(renderPage(content), { status, headers });
}

function statusOf({ code, party, transient }: McpAuthError): number {
  if (code === "login_required") return 401;
  return code === "rate_limited" || (transient && party === "server") ? 503 : statuses[party];
}
