import type { LoginHandler, LoginSession } from "../../authorization/login-handler.ts";
import type { Listener } from "./loopback/listener.ts";
import { listenerLogin } from "./loopback/loopback-login.ts";
import type { Responses } from "./loopback/responses.ts";
import type { PasteInput, PasteLoginOptions } from "./options.ts";
import { printToStderr } from "./print.ts";

/**
 * Login through a browser on another machine, for SSH: prints the authorization URL and the `ssh -L` line that brings the
 * browser back to the listener here, and accepts the address of the page at which the browser has ended up, pasted into
 * the terminal. Whichever comes first counts. What is pasted is not shown.
 *
 * @throws McpAuthError as `loopbackLogin`
 */
export function pasteLogin(options: PasteLoginOptions = {}): LoginHandler {
  const { print = printToStderr } = options;
  const input = options.input ?? (process.stdin.isTTY ? process.stdin : undefined);
  return listenerLogin(options, async (url, session, listener, responses, signal) => {
    print(instructions(url, session, listener, options.env ?? process.env, input !== undefined));
    // A terminal that can't be read leaves the way through the forwarded port.
    if (input && !signal.aborted) await readPasted(input, print, responses, signal).catch(() => {});
  });
}

function instructions(
  url: URL,
  session: LoginSession,
  { port }: Listener,
  env: NonNullable<PasteLoginOptions["env"]>,
  canPaste: boolean,
): string {
  const forward = /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]/.test(session.redirectUri);
  const lines = ["Open this address in a browser on your own computer to log in:", "", `  ${url.href}`, ""];
  if (forward) {
    lines.push(`Afterwards the browser goes to ${session.redirectUri}, which is on this machine. So, before you log in,`);
    lines.push("run this on your own computer:", "", `  ${sshCommand(port, env)}`, "");
  }
  if (canPaste) {
    lines.push(
      forward
        ? "Or log in without it: the last page will not load. Copy its whole address"
        : "If the last page does not load, copy its whole address",
    );
    lines.push("from the browser's address bar, paste it here and press Enter (it is not shown).");
  }
  return lines.join("\n");
}

/** The command that makes a port of this machine reachable at the same port of the user's. */
function sshCommand(port: number, env: NonNullable<PasteLoginOptions["env"]>): string {
  // "client address, client port, server address, server port", written by sshd; shown only in exactly this form.
  const [, host = "<host>", sshPort = "22"] = /^\S+ \d+ ([\da-f.:]+(?:%\w+)?) (\d+)$/i.exec(env.SSH_CONNECTION ?? "") ?? [];
  return `ssh -L ${port}:127.0.0.1:${port} ${sshPort === "22" ? "" : `-p ${sshPort} `}${userName()}@${host}`;
}

function userName(): string {
  try {
    return process.getBuiltinModule("node:os").userInfo().username;
  } catch {
    // A container's user may have no name.
    return "<user>";
  }
}

/** Reads lines until one ends the login, something else does, or the input ends. */
async function readPasted(input: PasteInput, print: (text: string) => void, responses: Responses, signal: AbortSignal): Promise<void> {
  const [{ createInterface }, { Writable }] = [process.getBuiltinModule("node:readline"), process.getBuiltinModule("node:stream")];
  // Line editing by readline, not by the terminal, which would cut a line at 1024 (macOS) or 4096 characters and show the code.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: input as NodeJS.ReadableStream, output: nowhere, terminal: input.isTTY === true, historySize: 0 });
  const close = () => lines.close();
  // In raw mode Ctrl-C is a character: pass on what it means.
  lines.on("SIGINT", () => {
    close();
    process.kill(process.pid, "SIGINT");
  });
  signal.addEventListener("abort", close, { once: true });

  for await (const line of lines) {
    if (line.trim() === "") continue;
    const parameters = pastedParameters(line);
    if (parameters === undefined) {
      print("That is not the address of the last page: it contains `state=` and `code=` (or `error=`). Copy all of it and try again.");
      continue;
    }
    const { kind } = await responses.submit(parameters);
    if (kind !== "foreign") break;
    print("That address belongs to another login. Log in at the address above and paste the one of the page after it.");
  }
  signal.removeEventListener("abort", close);
  close();
}

/** The query of a pasted redirect, whole or only its query; nothing when it is no authorization response. */
function pastedParameters(line: string): string | undefined {
  const text = line.trim().replace(/^["'<]+|["'>]+$/g, "");
  const query = (URL.parse(text)?.search ?? text).replace(/^[^?]*\?|#.*$/g, "");
  const parameters = new URLSearchParams(query);
  return parameters.has("state") && (parameters.has("code") || parameters.has("error")) ? query : undefined;
}
