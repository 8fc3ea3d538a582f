import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../../../../src/errors.ts";
import { answerFor, type LoginOutcome } from "../../../../src/node/login/loopback/page.ts";

const base: LoginOutcome = {
  kind: "success",
  serverUrl: "https://mcp.example/mcp?token=secret",
  clientName: "Acme Agent",
  error: undefined,
};
const kinds = ["success", "denied", "failed", "expired", "foreign", "finished"] as const;

describe("the page", () => {
  test.each(kinds)("%s: a whole document without anything external", async (kind) => {
    const { html } = await answerFor({ ...base, kind });
    expect(html).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(html).toMatch(/<title>[^<]+<\/title>/);
    expect(html).toContain('role="status"');
    expect(html).toContain("mcp.example");
    expect(html).not.toContain("secret");
    expect(html.replaceAll("http://www.w3.org/2000/svg", "").replaceAll(encodeURIComponent("http://www.w3.org/2000/svg"), "")).not.toMatch(
      /https?:|src=|@import/,
    );
  });

  test.each(kinds)("%s: the policy's hashes are those of its only style and its only script", async (kind) => {
    const { html, csp } = await answerFor({ ...base, kind });
    for (const element of ["style", "script"]) {
      const texts = [...html.matchAll(new RegExp(`<${element}>(.*?)</${element}>`, "gs"))].map(([, text = ""]) => text);
      expect(texts).toHaveLength(1);
      expect(csp).toContain(
        `${element}-src 'sha256-${createHash("sha256")
          .update(texts[0] ?? "")
          .digest("base64")}'`,
      );
    }
    expect(html).not.toMatch(/ style=| on\w+=/);
  });

  test("text of strangers is escaped", async () => {
    const strange = `"><script>alert('1')</script>&`;
    const error = new McpAuthError("authorization_error", { serverError: strange, serverDescription: strange });
    const { html } = await answerFor({ kind: "failed", serverUrl: "https://mcp.example", clientName: strange, error });
    expect(html).not.toContain("<script>alert");
    expect(html).not.toContain("alert('1')");
    expect(html).toContain("&#34;&#62;&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#38;");
  });

  test("a failure tells what happened, what to do and the code", async () => {
    const error = new McpAuthError("authorization_error", { serverError: "invalid_scope", serverDescription: "No such scope" });
    const { html } = await answerFor({ ...base, kind: "failed", error });
    const hint = error.hint.replaceAll("'", "&#39;");
    for (const text of ["The authorization server refused the login", "invalid_scope", "No such scope", hint, "authorization_error"]) {
      expect(html).toContain(text);
    }
    expect(html.split(hint)).toHaveLength(2);
  });

  test("an error that is not ours is not shown", async () => {
    const { html } = await answerFor({ ...base, kind: "failed", error: undefined });
    expect(html).toContain("The login did not work");
    expect(html).not.toContain('class="reason"');
  });

  test("a server URL that is none is left out", async () => {
    expect((await answerFor({ ...base, serverUrl: "nonsense" })).html).not.toContain("<footer>");
  });
});

describe("the app's own page", () => {
  test("replaces ours; styles and data images are allowed, scripts are not; the address is cleaned all the same", async () => {
    const { html, csp } = await answerFor(base, ({ kind, clientName }) => `<p style="color:red">${kind} ${clientName}</p>`);
    expect(html).toMatch(/^<p style="color:red">success Acme Agent<\/p><script>history\.replaceState/);
    expect(csp).toContain("style-src 'unsafe-inline'");
    expect(csp).toMatch(/script-src 'sha256-[^']+';/);
  });

  test("one that throws is replaced by ours", async () => {
    const { html, status } = await answerFor(base, () => {
      throw new Error("mistake");
    });
    expect(status).toBe(200);
    expect(html).toContain("You’re logged in");
    expect(html).not.toContain("mistake");
  });
});
