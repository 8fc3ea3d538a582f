import { lacksState } from "../../../authorization/response.ts";
import type { McpAuthError } from "../../../errors.ts";
import { hashSource, renderPage, styleSource, type Tone } from "../../../login/page.ts";

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
  let style = "'unsafe-inline'";
  try {
    html = page?.(outcome);
  } catch {
    // A mistake in the app's page must not cost the user the answer.
  }
  if (typeof html !== "string") {
    html = loginPage(outcome);
    style = await styleSource();
  }
  return {
    // A page for a user in any case, but programs that play the browser see at once how it went.
    status: outcome.kind === "success" || outcome.kind === "finished" ? 200 : 400,
    html: `${html}<script>${cleanAddress}</script>`,
    csp:
      `default-src 'none'; style-src ${style}; img-src data:; script-src ${await hashSource(cleanAddress)}; ` +
      "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  };
}

/** The page for each outcome. */
function loginPage(outcome: LoginOutcome): string {
  const app = outcome.clientName ?? "the program that asked for it";
  const isUnmatched = outcome.kind === "foreign" && lacksState(outcome.error);
  const [tone, title, text] = isUnmatched ? unmatched(app) : texts(app)[outcome.kind];
  const { error } = outcome;
  // A plain "no" is explained by its title.
  const tells = isUnmatched || outcome.kind === "failed" || (outcome.kind === "denied" && error?.serverDescription);
  return renderPage({
    tone,
    title,
    text,
    reason: error && tells ? { lines: [error.message, error.hint], code: error.code } : undefined,
    server: URL.parse(outcome.serverUrl)?.host,
  });
}

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
