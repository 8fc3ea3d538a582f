import { McpAuthError } from "../../errors.ts";
import { checkOptions, needed, type Rules, texts } from "../../options.ts";

/** Options of {@link openBrowser}. */
export interface OpenBrowserOptions {
  /** Host names (without port) to which plain http is allowed although they are not loopback. For development. */
  allowInsecure?: readonly string[] | undefined;
}

export const openBrowserRules = (): Rules<OpenBrowserOptions> => ({ allowInsecure: texts });

/** How long a command may take to report that it cannot open a browser, in milliseconds. */
const failureMs = 1500;

/**
 * Refuses what no browser should be sent to. An authorization URL comes from a server: `file:`, `javascript:` and the
 * schemes of installed programs do harm when the system opens them.
 *
 * @throws McpAuthError `invalid_url`: scheme or user info; `insecure_url`: plain http that is neither loopback nor allowed.
 * @see REQ-SEC-02
 */
export function checkBrowserUrl(url: URL, { allowInsecure = [] }: OpenBrowserOptions = {}): void {
  if ((url.protocol !== "https:" && url.protocol !== "http:") || url.username || url.password) {
    throw new McpAuthError("invalid_url", {
      detail: `a browser opens only http(s) URLs without a user name, and this one begins with ${url.protocol}`,
    });
  }
  const loopback = /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === "http:" && !loopback && !allowInsecure.includes(url.hostname)) {
    throw new McpAuthError("insecure_url", { detail: url.origin });
  }
}

/**
 * Opens `url` in the user's browser. Resolves when the system has taken it; that a page appears can't be known.
 *
 * The URL reaches the system's opener as one argument, never through a shell.
 *
 * @throws McpAuthError `invalid_url`, `insecure_url`; `invalid_option`; `browser_failed` when there is no opener or it
 *   reports a failure.
 */
export async function openBrowser(url: URL, options: OpenBrowserOptions = {}): Promise<void> {
  checkOptions({ url }, { url: needed(["a `URL`", (value) => value instanceof URL]) });
  checkOptions(options, openBrowserRules());
  checkBrowserUrl(url, options);
  try {
    const { default: open } = await import("open");
    const child = await open(url.href);
    const failure = (code: number | null) => (code ? [new Error(`the command that opens browsers ended with code ${code}`)] : []);
    // Openers end quickly, except when they become the browser itself: what still runs after a moment has not failed.
    const [error] = await new Promise<Error[]>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(failure(child.exitCode));
      const timer = setTimeout(resolve, failureMs, []);
      const done = (failures: Error[]) => {
        clearTimeout(timer);
        resolve(failures);
      };
      child.once("exit", (code) => done(failure(code)));
      child.once("error", (error) => done([error]));
    });
    if (error) throw error;
  } catch (cause) {
    throw new McpAuthError("browser_failed", { cause });
  }
}
