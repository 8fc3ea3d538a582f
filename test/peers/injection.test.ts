/** CVE-2025-6514, as users of another client met it: a server's `authorization_endpoint` runs a command on their machine. */
import { describe, expect, test } from "vitest";
import { failure, reasons } from "../discovery/support.ts";
import { codeOf, desktop, startServer } from "./support.ts";

describe("what is no web address never reaches a browser", () => {
  test.each([
    "javascript:alert(document.domain)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "file://attacker.example/share/run.exe",
    "vbscript:MsgBox(1)",
    "ms-msdt:/id PCWDiagnostic",
    "a:$(cmd.exe /c whoami > c:\\temp\\pwned.txt)",
    "$(touch /tmp/pwned)",
    "; touch /tmp/pwned",
    "--help",
    "/authorize",
    "",
    "http://attacker.example/authorize",
    "https://user:pass@attacker.example/authorize",
  ])("%j", async (endpoint) => {
    const { authorizationServer: as, url } = await startServer();
    as.metadataPatch = { authorization_endpoint: endpoint };
    const printed: string[] = [];
    const { auth, opened } = desktop(url, { print: (line) => void printed.push(line) });
    const error = await failure(auth.authorize());
    expect(error.code).toBe("discovery_failed");
    expect(error.message).toContain("`authorization_endpoint` is not usable");
    // Both well-known places say the same.
    expect(reasons(error)).toEqual(["discovery_failed", "discovery_failed"]);
    expect(opened).toEqual([]);
    expect(printed).toEqual([]);
    expect(as.registrations).toEqual([]);
  });

  test("a web address with a shell's characters reaches the browser as an address, escaped, and with our parameters only once", async () => {
    const { authorizationServer: as, url } = await startServer();
    as.metadataPatch = { authorization_endpoint: `${as.issuer}/authorize?x=$(touch /tmp/a)\`id\`"&calc.exe;|<>'` };
    const { auth, opened } = desktop(url);
    expect(await codeOf(auth.authorize())).toBe("no error");
    expect(opened[0]?.href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/authorize\?[\w.~*%&=+-]+$/);
  });
});
