/** The web application in `examples/hosted`, as its users see it in Chromium. Screenshots are kept in `SCREENSHOTS`, if that names a folder. */
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium, launch, openPage } from "../browser/chromium.ts";

const root = join(import.meta.dirname, "../..");
let browser: Browser;
let application: ReturnType<typeof spawn>;
let baseUrl: string;

beforeAll(async () => {
  if (!hasChromium) return;
  browser = await launch();
  application = spawn(process.execPath, ["--no-warnings", "examples/hosted.ts", "--serve"], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  baseUrl = await new Promise<string>((resolve, reject) => {
    let said = "";
    application.stdout?.on("data", (chunk) => {
      said += chunk;
      const [, url] = /The application: (\S+)\n/.exec(said) ?? [];
      if (url) resolve(url);
    });
    application.once("exit", () => reject(new Error(`the example has ended: ${said}`)));
  });
}, 120_000);
afterAll(async () => {
  application?.kill();
  await browser?.close();
});

async function openApplication(): Promise<{ page: Page; problems: string[]; shot: (name: string) => Promise<void> }> {
  const { page, problems, close } = await openPage(browser, { viewport: { width: 900, height: 640 } });
  onTestFinished(close);
  await page.goto(baseUrl);
  const shot = async (name: string) => {
    const folder = process.env.SCREENSHOTS;
    if (!folder) return;
    await mkdir(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `hosted-${name}.png`) });
  };
  return { page, problems, shot };
}

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const state = (page: Page) => page.locator("#state").textContent();

/** Signs in, and goes as far as the authorization server's question. */
async function connect(page: Page, user: string, account: string): Promise<void> {
  await press(page, `I am ${user}`);
  expect(await state(page)).toBe("Not connected.");
  await press(page, "Connect");
  await page.getByLabel("Account").fill(account);
  await press(page, "Log in");
}

describe.runIf(hasChromium)("a user of the web application", () => {
  test("signs in, connects the server, calls its tools, and disconnects it", async () => {
    const { page, problems, shot } = await openApplication();
    await shot("1-signed-out");
    await connect(page, "ann", "ann@mcp.example");
    await shot("2-consent");
    await press(page, "Allow");
    await page.locator("#tools").waitFor();
    expect(page.url()).toBe(`${baseUrl}/`);
    expect(await state(page)).toMatch(/^Connected, as ann@mcp\.example there\. Tools: whoami, add, .*\.$/);
    await page.getByLabel("a", { exact: true }).fill("20");
    await page.getByLabel("b", { exact: true }).fill("22");
    await press(page, "Add");
    expect(await page.locator("#result").textContent()).toBe("42");
    await shot("3-connected");
    // The code is neither in the address nor where "back" leads.
    expect(await page.evaluate(() => document.referrer)).not.toContain("code=");

    await press(page, "Disconnect");
    expect(await state(page)).toBe("Not connected.");
    expect(problems.filter((problem) => problem.includes(baseUrl))).toEqual([]);
  });

  test("who says no is told so, and is as before", async () => {
    const { page, shot } = await openApplication();
    await connect(page, "bob", "bob@mcp.example");
    await press(page, "Deny");
    await page.getByRole("heading", { name: "Access was not allowed" }).waitFor();
    await shot("4-denied");
    await page.getByRole("link", { name: "Back to the app" }).click();
    expect(await state(page)).toBe("Not connected.");
  });

  test("another user's browser cannot finish the login; the user's own can", async () => {
    const [own, other] = [await openApplication(), await openApplication()];
    await connect(own.page, "bob", "bob@mcp.example");
    const context = own.page.context();
    const cookies = await context.cookies();
    expect(cookies.filter(({ name }) => name.startsWith("mcp-login-"))).toEqual([
      expect.objectContaining({ httpOnly: true, sameSite: "Lax", path: "/" }),
    ]);
    await context.clearCookies({ name: /mcp-login/ });
    await press(own.page, "Allow");
    await own.page.getByRole("heading", { name: "This page belongs to another login" }).waitFor();
    const callback = own.page.url();

    await press(other.page, "I am ann");
    await other.page.goto(callback);
    await other.page.getByRole("heading", { name: "This page belongs to another login" }).waitFor();
    await other.shot("5-another-browser");
    expect(await other.page.content()).not.toContain(new URL(callback).searchParams.get("code"));
    await other.page.goto(baseUrl);
    expect(await state(other.page)).toBe("Not connected.");

    await context.addCookies(cookies);
    await own.page.goto(callback);
    await own.page.locator("#tools").waitFor();
    // Once more, as a reload would: nothing happens, and nothing is wrong.
    await own.page.goto(callback);
    expect(await state(own.page)).toContain("Connected, as bob@mcp.example");
  });

  test("another site starts no login", async () => {
    const { page } = await openApplication();
    await press(page, "I am ann");
    // A page of another origin, in the browser of a user who is signed in.
    await page.goto("data:text/html,<title>evil</title>");
    await page.setContent(`<form method="post" action="${baseUrl}/mcp/connect"><button>Win</button></form>`);
    const answered = page.waitForResponse(`${baseUrl}/mcp/connect`);
    await press(page, "Win");
    expect((await answered).status()).toBe(403);
  });
});
