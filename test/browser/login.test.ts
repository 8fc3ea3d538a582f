/** A login as a user has it: from the refused request to the page at the end, with a real browser and real servers. */
import type { Browser, Page, Response } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/index.ts";
import { createMcpAuth } from "../../src/node/index.ts";
import { answer, gate, type ProtectedServer, startProtectedServer, tokenRequest, when } from "../fixture/index.ts";
import { manualClock } from "../storm/support.ts";
import { hasChromium, launch, openPage } from "./chromium.ts";

let browser: Browser;
let server: ProtectedServer;
beforeAll(async () => {
  if (!hasChromium) return;
  [browser, server] = await Promise.all([launch(), startProtectedServer({ authorizationServer: { interaction: "pages" } })]);
}, 60_000);
afterAll(async () => {
  await Promise.all([browser?.close(), server?.close()]);
});

/** A login in a new browser window, by somebody who logs in and then presses `decision`. */
async function startLogin(decision: "Allow" | "Deny", options: { clock?: Clock } = {}) {
  onTestFinished(() => server.reset());
  const watched = await openPage(browser);
  onTestFinished(watched.close);
  const opened: URL[] = [];
  const openBrowser = async (url: URL) => {
    opened.push(url);
    const { page } = watched;
    await page.goto(url.href);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name: decision }).click();
  };
  const auth = createMcpAuth(server.url, { clientName: "Acme Agent", openBrowser, print: () => {}, interactive: true, ...options });
  onTestFinished(() => auth.dispose());
  const outcome = auth.authorize().then(
    () => "ok",
    (error: { code?: string }) => error.code ?? error,
  );
  return { ...watched, auth, opened, outcome };
}

/** What is shown at the end, and that nothing of the response is left in the address bar. */
async function expectPage(page: Page, title: string): Promise<void> {
  await page.getByRole("heading", { name: title }).waitFor({ timeout: 45_000 });
  expect(page.url()).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/);
  expect(await page.locator("footer").textContent()).toContain(new URL(server.url).host);
}

describe.runIf(hasChromium)("a user logs in with a browser", () => {
  test("login and consent end on the success page, and the next request is authorised", async () => {
    const { page, problems, opened, outcome, auth } = await startLogin("Allow");
    const arrived: Response[] = [];
    page.on("response", (response) => {
      if (response.url().includes("/callback")) arrived.push(response);
    });
    expect(await outcome).toBe("ok");
    await expectPage(page, "You’re logged in");
    expect(await page.getByRole("status").textContent()).toContain("Acme Agent");
    expect(arrived.map((response) => response.headers())).toEqual([
      expect.objectContaining({
        "cache-control": "no-store",
        "content-security-policy": expect.stringContaining("default-src 'none'"),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
      }),
    ]);
    // The authorization server has no icon; that is its own affair.
    expect(problems.filter((text) => text.includes(new URL(page.url()).host))).toEqual([]);
    expect(opened).toHaveLength(1);
    const token = await auth.getAccessToken();
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(await page.content()).not.toContain(token);
  });

  test("a login that the user denies ends on a page that says so", async () => {
    const { page, outcome } = await startLogin("Deny");
    expect(await outcome).toBe("authorization_denied");
    await expectPage(page, "Access was not allowed");
  });

  test("a code that the server does not accept ends on the error page, with the error's code", async () => {
    server.authorizationServer.intercept(
      when(tokenRequest("authorization_code"), answer(400, { error: "invalid_grant", error_description: "<b>used</b>" })),
    );
    const { page, outcome } = await startLogin("Allow");
    const code = await outcome;
    await expectPage(page, "The login did not work");
    expect(await page.locator("code").textContent()).toBe(code);
  });

  test("a code that is not exchanged in time ends on the error page, which says that a new login is needed", async () => {
    const unanswered = gate(tokenRequest("authorization_code"));
    server.authorizationServer.intercept(unanswered.hook);
    const clock = manualClock();
    const { page, outcome } = await startLogin("Allow", { clock });
    await unanswered.reached(1);
    clock.advance(30_000);
    expect(await outcome).toBe("timeout");
    await expectPage(page, "The login did not work");
    expect(await page.locator(".reason").textContent()).toContain("the code of this login is spent");
  });
});
