/** CVE-2025-6514, as users of another client met it: a server's `authorization_endpoint` runs a command on their machine. */
import { describe, expect, test } from "vitest";
import { failure, reasons } from "../discovery/support.ts";
import { codeOf, desktop, startServer } from "./support.ts";

describe("what is no web address never reaches a browser", () => {
  test.each([
    ["javascript:alert(document.domain)", "invalid_url"],
    ["JaVaScRiPt:alert(1)", "invalid_url"],
    [" javascript:alert(1)", "invalid_url"],
    ["java\nscript:alert(1)", "invalid_url"],
    ["data:text/html,<script>alert(1)</script>", "invalid_url"],
    ["file:///etc/passwd", "invalid_url"],
    ["file://attacker.example/share/run.exe", "invalid_url"],
    ["vbscript:MsgBox(1)", "invalid_url"],
    ["ms-msdt:/id PCWDiagnostic", "invalid_url"],
    ["a:$(cmd.exe /c whoami > c:\\temp\\pwned.txt)", "invalid_url"],
    ["$(touch /tmp/pwned)", "invalid_url"],
    ["; touch /tmp/pwned", "invalid_url"],
    ["--help", "invalid_url"],
    ["/authorize", "invalid_url"],
    ["", "invalid_url"],
    ["http://attacker.example/authorize", "insecure_url"],
    ["https://user:pass@attacker.example/authorize", "invalid_url"],
  ])("%j: %s", async (endpoint, code) => {
    const { authorizationServer: as, url } = await startServer();
    as.metadataPatch = { authorization_endpoint: endpoint };
    const printed: string[] = [];
    const { auth, opened } = desktop(url, { print: (line) => void printed.push(line) });
    const error = await failure(auth.authorize());
    expect(error.code).toBe("discovery_failed");
    // Both well-known places say the same.
    expect(reasons(error)).toEqual([code, code]);
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
