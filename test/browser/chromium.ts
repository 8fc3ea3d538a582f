/** A real Chromium, and pages that tell what went wrong in them. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { chromiumPath } from "../../scripts/system.ts";

const executablePath = chromiumPath();

/** In CI a missing browser is a failure; elsewhere the tests say that they were skipped. */
export const hasChromium = executablePath !== undefined || Boolean(process.env.CI);

export async function launch(): Promise<Browser> {
  if (!executablePath) throw new Error("Chromium is missing");
  return chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export interface WatchedPage {
  page: Page;
  /** Errors of scripts and whatever the console shows as an error: policy violations and failed loads. With the URL. */
  problems: string[];
  /** URLs that were asked for. */
  requests: string[];
  close(): Promise<void>;
}

export async function openPage(browser: Browser, options?: BrowserContextOptions): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(`${message.text()} at ${message.location().url}`);
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  return { page, problems, requests, close: () => context.close() };
}
