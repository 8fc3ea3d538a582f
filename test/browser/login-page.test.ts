/** The page at the end of a login, as a user sees it. Screenshots are kept in `SCREENSHOTS`, if that names a folder. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { send, waitFor, waitingLogin } from "../node/login/loopback/login.ts";
import { hasChromium, launch, openPage } from "./chromium.ts";

const good = "/callback?code=abc&state=right";
const options = { clientName: "Acme Agent" };

let browser: Browser;
beforeAll(async () => {
  if (hasChromium) browser = await launch();
}, 60_000);
afterAll(() => browser?.close());

async function openWatched(contextOptions?: BrowserContextOptions) {
  const watched = await openPage(browser, contextOptions);
  onTestFinished(watched.close);
  return watched;
}

/** How each page is reached. */
const pages: [name: string, title: string, ok: boolean, reach: () => Promise<string>][] = [
  ["success", "You’re logged in", true, async () => `http://127.0.0.1:${(await waitingLogin(options)).port}${good}`],
  ["denied", "Access was not allowed", false, () => failing(new McpAuthError("authorization_denied", { issuer: "https://as.example" }))],
  [
    "failed",
    "The login did not work",
    false,
    () =>
      failing(
        new McpAuthError("authorization_error", {
          issuer: "https://as.example/realms/research",
          serverError: "invalid_scope",
          serverDescription: `The scope <b>mcp:admin</b> may not be asked for by this client${"!".repeat(60)}`,
        }),
      ),
  ],
  ["failed-unknown", "The login did not work", false, () => failing(new Error("secret detail"))],
  [
    "expired",
    "This login has expired",
    false,
    async () => {
      const login = await waitingLogin(options, () => new Promise(() => {}));
      void waitFor(() => expect(login.received).toHaveLength(1)).then(() => login.abort());
      return `http://127.0.0.1:${login.port}${good}`;
    },
  ],
  [
    "foreign",
    "This page belongs to another login",
    false,
    async () => `http://127.0.0.1:${(await waitingLogin(options)).port}/callback?code=abc&state=wrong`,
  ],
  [
    "finished",
    "This login has already finished",
    true,
    async () => {
      const login = await waitingLogin(options);
      await send(login.port, good);
      await login.outcome;
      return `http://127.0.0.1:${login.port}/callback?code=other&state=right`;
    },
  ],
];

async function failing(error: Error): Promise<string> {
  return `http://127.0.0.1:${(await waitingLogin(options, () => Promise.reject(error))).port}${good}`;
}

describe.runIf(hasChromium)("the page in Chromium", () => {
  test.each(pages)("%s", async (_name, title, ok, reach) => {
    const { page, problems, requests } = await openWatched();
    const url = await reach();
    const response = await page.goto(url);

    expect(await page.getByRole("heading").allTextContents()).toEqual([title]);
    expect(await page.title()).toBe(title);
    expect(await page.getByRole("status").count()).toBe(1);
    expect(response?.status()).toBe(ok ? 200 : 400);
    expect(response?.headers()).toMatchObject({ "cache-control": "no-store", "referrer-policy": "no-referrer" });
    // The code has gone from the address bar, and from what "back" and "reload" would send.
    expect(page.url()).toBe(url.replace(/\?.*/, ""));
    expect(await page.evaluate(() => history.length)).toBeLessThanOrEqual(2);
    // Nothing else was asked for, nothing was refused by the policy, no script failed.
    expect(requests).toEqual([url]);
    expect(problems.filter((text) => !(text.startsWith("Failed to load resource") && text.includes("status of 400")))).toEqual([]);
    expect(await page.content()).not.toContain("secret detail");
  });

  test("text of strangers is text", async () => {
    const { page } = await openWatched();
    await page.goto(
      await failing(new McpAuthError("authorization_error", { serverDescription: "<h2>Call us</h2><script>alert(1)</script>" })),
    );
    expect(await page.locator("h2").count()).toBe(0);
    expect(await page.getByRole("status").textContent()).toContain("<h2>Call us</h2><script>alert(1)</script>");
  });

  test("no page may frame it", async () => {
    const { page } = await openWatched();
    const login = await waitingLogin();
    const url = `http://127.0.0.1:${login.port}/callback?state=wrong`;
    await page.setContent(`<iframe src="${url}"></iframe>`);
    await waitFor(() => expect(page.frames()[1]?.url()).toBe("chrome-error://chromewebdata/"));
    expect(login.received).toHaveLength(1);
  });

  test("the app's page may have inline style, and its address is cleaned", async () => {
    const { page, problems } = await openWatched();
    const login = await waitingLogin({
      page: ({ kind }) =>
        `<!doctype html><title>Mine</title><p id="mine" style="color:rgb(1, 2, 3)">${kind}</p><script>document.title="no"</script>`,
    });
    await page.goto(`http://127.0.0.1:${login.port}${good}`);
    expect(await page.locator("#mine").textContent()).toBe("success");
    expect(await page.locator("#mine").evaluate((element) => getComputedStyle(element).color)).toBe("rgb(1, 2, 3)");
    expect(await page.title()).toBe("Mine");
    expect(page.url()).toBe(`http://127.0.0.1:${login.port}/callback`);
    expect(problems).toHaveLength(1);
  });
});

describe.runIf(hasChromium)("how it looks", () => {
  const looks: [look: string, options: BrowserContextOptions][] = [
    ["light", { colorScheme: "light", viewport: { width: 1100, height: 720 } }],
    ["dark", { colorScheme: "dark", viewport: { width: 1100, height: 720 } }],
    ["phone", { colorScheme: "light", viewport: { width: 375, height: 667 }, deviceScaleFactor: 2, isMobile: true }],
    ["phone-dark", { colorScheme: "dark", viewport: { width: 320, height: 568 }, deviceScaleFactor: 2, isMobile: true }],
  ];
  test.each(looks)("%s: everything fits and is readable", async (look, contextOptions) => {
    const { page } = await openWatched(contextOptions);
    for (const [name, , , reach] of pages) {
      await page.goto(await reach());
      const seen = await page.evaluate(measure);
      expect(seen.overflow, name).toBeLessThanOrEqual(0);
      for (const { text, contrast, size } of seen.texts) {
        expect(contrast, `${name}: ${text}`).toBeGreaterThanOrEqual(4.5);
        expect(size, `${name}: ${text}`).toBeGreaterThanOrEqual(13);
      }
      expect(seen.texts.length).toBeGreaterThanOrEqual(3);
      expect(seen.dark, name).toBe(look.includes("dark"));
      const folder = process.env.SCREENSHOTS;
      if (!folder) continue;
      await mkdir(folder, { recursive: true });
      await page.screenshot({ path: join(folder, `${name}-${look}.png`) });
    }
  });
});

/** Runs in the page: what sticks out at the side, and the contrast of every text with what is behind it (WCAG 2, 1.4.3). */
function measure() {
  const channels = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color: string) => {
    const [red = 0, green = 0, blue = 0] = channels(color).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element: Element | null): string => {
    if (!element) return "rgb(255, 255, 255)";
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? behind(element.parentElement) : color;
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.nodeValue?.trim();
    if (!element || !text || element.closest("script")) continue;
    const style = getComputedStyle(element);
    const [light = 0, dark = 0] = [luminance(style.color), luminance(behind(element))].sort((a, b) => b - a);
    texts.push({ text, contrast: (light + 0.05) / (dark + 0.05), size: Number.parseFloat(style.fontSize) });
  }
  const { scrollWidth, clientWidth } = document.documentElement;
  return { texts, overflow: scrollWidth - clientWidth, dark: luminance(behind(document.body)) < 0.2 };
}
