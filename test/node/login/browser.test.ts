import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { checkBrowserUrl, openBrowser } from "../../../src/node/login/browser.ts";

describe("REQ-SEC-02 what a browser is sent to", () => {
  test.each<[url: string, allowInsecure: string[] | undefined, outcome: string]>([
    ["https://as.example/authorize?x=1", undefined, "opened"],
    ["http://127.0.0.1:1/a", undefined, "opened"],
    ["http://127.9.9.9/a", undefined, "opened"],
    ["http://localhost/a", undefined, "opened"],
    ["http://as.localhost/a", undefined, "opened"],
    ["http://[::1]:1/a", undefined, "opened"],
    ["http://as.example/a", undefined, "insecure_url"],
    ["http://as.example/a", ["as.example"], "opened"],
    ["http://as.example/a", ["other"], "insecure_url"],
    ["http://localhost.evil.example/a", undefined, "insecure_url"],
    ["http://127.0.0.1.evil.example/a", undefined, "insecure_url"],
    ["https://user:secret@as.example/", undefined, "invalid_url"],
    ["https://user@as.example/", undefined, "invalid_url"],
    ["file:///etc/passwd", undefined, "invalid_url"],
    ["javascript:alert(1)", undefined, "invalid_url"],
    ["data:text/html,x", undefined, "invalid_url"],
    ["vbscript:x", undefined, "invalid_url"],
    ["ms-msdt:/id", undefined, "invalid_url"],
    ["ftp://as.example/", undefined, "invalid_url"],
    ["ws://127.0.0.1/", undefined, "invalid_url"],
  ])("%s, allowed %s: %s", (url, allowInsecure, outcome) => {
    const check = () => checkBrowserUrl(new URL(url), { allowInsecure });
    if (outcome === "opened") expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: outcome, message: expect.not.stringContaining("secret") }));
  });

  test("openBrowser checks before anything is started", async () => {
    await expect(openBrowser(new URL("file:///etc/passwd"))).rejects.toMatchObject({ code: "invalid_url" });
  });
});

/** A folder with a command that the system's opener takes for the browser. */
async function browserCommand(script: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "browser-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "browser"), `#!/bin/sh\n${script.replaceAll("FOLDER", folder)}\n`);
  await chmod(join(folder, "browser"), 0o755);
  vi.stubEnv("BROWSER", join(folder, "browser"));
  // Without a desktop only BROWSER counts.
  for (const name of ["DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP", "DESKTOP_SESSION"]) vi.stubEnv(name, undefined);
  return folder;
}

describe.runIf(process.platform === "linux")("the system's opener", () => {
  test("gets the URL as one argument, whatever is in it", async () => {
    const folder = await browserCommand(`printf '%s\\n' "$#" "$1" > FOLDER/new && mv FOLDER/new FOLDER/arguments`);
    const url = new URL("https://as.example/a'b;touch%20x/$(id)`id`?a=1&b=$(id)|id;id&c=\"><%PATH%");
    await openBrowser(url);
    const seen = await vi.waitFor(() => readFile(join(folder, "arguments"), "utf8"), { timeout: 45_000 });
    expect(seen).toBe(`1\n${url.href}\n`);
  });

  test("one that reports a failure is browser_failed", async () => {
    await browserCommand("exit 4");
    await expect(openBrowser(new URL("https://as.example/"))).rejects.toMatchObject({ code: "browser_failed", cause: expect.any(Error) });
  });

  test("one that becomes the browser has not failed", async () => {
    const folder = await browserCommand("echo $$ > FOLDER/pid; exec sleep 60");
    await openBrowser(new URL("https://as.example/"));
    process.kill(Number(await readFile(join(folder, "pid"), "utf8")));
  });
});
