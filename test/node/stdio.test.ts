/** REQ-SEC-04: servers that are child processes get their credentials in the environment, and nothing that is not named. */
import { realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client as ClientV2 } from "@modelcontextprotocol/client";
import { StdioClientTransport as StdioV2 } from "@modelcontextprotocol/client/stdio";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as StdioV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { BearerCredential } from "../../src/credentials/index.ts";
import { McpAuthError } from "../../src/index.ts";
import { type StdioServer, type StdioServerOptions, stdioServer } from "../../src/node/index.ts";

const program = join(import.meta.dirname, "reporting-server.ts");
const secret = "hush-1234567890";

interface Report {
  env: Record<string, string>;
  commandLine: string;
  cwd: string;
}

const info = { name: "test", version: "1" };
const sdks = {
  v1: async (server: StdioServer) => {
    const client = new ClientV1(info);
    onTestFinished(() => client.close());
    await client.connect(new StdioV1(server));
    return client.callTool({ name: "report" });
  },
  v2: async (server: StdioServer) => {
    const client = new ClientV2(info);
    onTestFinished(() => client.close());
    await client.connect(new StdioV2(server));
    return client.callTool({ name: "report" });
  },
};

/** What a real server sees when a real client starts it. */
async function started(sdk: keyof typeof sdks, options: Partial<StdioServerOptions>): Promise<Report> {
  const { content } = (await sdks[sdk](await stdioServer({ command: process.execPath, args: [program], ...options }))) as unknown as {
    content: [{ text: string }];
  };
  return JSON.parse(content[0].text) as Report;
}

async function failureOf(options: Partial<StdioServerOptions>): Promise<McpAuthError> {
  const error = await stdioServer({ command: "acme", ...options }).catch((error: unknown) => error);
  if (!(error instanceof McpAuthError)) throw new Error("it did not fail as it should");
  return error;
}

describe.each(["v1", "v2"] as const)("REQ-SEC-04 SDK %s", (sdk) => {
  test("what is named arrives in the environment; nothing else of this process does, and nothing in the arguments", async () => {
    vi.stubEnv("OTHER_SECRET", "not-for-the-child");
    vi.stubEnv("HTTPS_PROXY", "http://proxy.example");
    const cwd = realpathSync(tmpdir());
    const report = await started(sdk, {
      cwd,
      inherit: ["HTTPS_PROXY", "DOES_NOT_EXIST"],
      credentials: {
        ACME_KEY: secret,
        ACME_TOKEN: new BearerCredential({ serverUrl: "https://mcp.example", token: () => "token-of-a-credential" }),
        ACME_PEM: async () => "-----BEGIN\nEND-----\n",
      },
    });
    expect(report.env).toMatchObject({
      ACME_KEY: secret,
      ACME_TOKEN: "token-of-a-credential",
      ACME_PEM: "-----BEGIN\nEND-----\n",
      HTTPS_PROXY: "http://proxy.example",
    });
    expect(report.env).not.toHaveProperty("OTHER_SECRET");
    expect(report.env).not.toHaveProperty("DOES_NOT_EXIST");
    expect(JSON.stringify(report.env)).not.toContain("not-for-the-child");
    expect(report.commandLine).toContain(program);
    expect(report.commandLine).not.toMatch(/hush|token-of/);
    expect(report.cwd).toBe(cwd);
  });
});

test("without credentials nothing is in the environment", async () => {
  expect(await stdioServer({ command: "acme", args: ["--stdio"] })).toEqual({ command: "acme", args: ["--stdio"], env: {} });
});

test.each([
  // secret, argument, refused
  [secret, secret, true],
  [secret, `--token=${secret}`, true],
  [secret, `https://user:${secret}@host`, true],
  [secret, "--token=hush-123456789", false],
  ["abc", "abc", true],
  ["abc", "--key=abc", true],
  ["abc", "--abcdef", false],
])("a secret that is in the arguments, too: %s in %s is refused: %s", async (value, argument, refused) => {
  const options = { args: ["--stdio", argument], credentials: { ACME_KEY: async () => value } };
  if (!refused) return void (await stdioServer({ command: "acme", ...options }));
  const error = await failureOf(options);
  expect(error).toMatchObject({ code: "invalid_option", message: expect.stringMatching(/ACME_KEY.*`args`/) });
  expect(String(error)).not.toContain(value);
});

test("a secret in the command is refused", async () => {
  expect((await failureOf({ command: `acme --key ${secret}`, credentials: { K: secret } })).code).toBe("invalid_option");
});

test.each([
  { credentials: { "": "x" } },
  { credentials: { "A=B": "x" } },
  { credentials: { "A B": "x" } },
  { credentials: { "1A": "x" } },
  { credentials: { "A\0": "x" } },
  { inherit: ["A-B"] },
  { inherit: ["*"] },
  { credentials: { A: "" } },
  { credentials: { A: "a\0b" } },
  { credentials: { A: (() => undefined) as unknown as () => string } },
  { credentials: { A: "x" }, inherit: ["A"] },
])("%j is refused", async (options: Partial<StdioServerOptions>) => {
  expect((await failureOf(options)).code).toBe("invalid_option");
});

test("what fetching a secret throws is thrown", async () => {
  const cause = new Error("vault is sealed");
  await expect(stdioServer({ command: "acme", credentials: { A: () => Promise.reject(cause) } })).rejects.toBe(cause);
});

test("a name of the prototype is a name as any other", async () => {
  const { env } = await stdioServer({ command: "acme", credentials: { ["__proto__"]: secret, constructor: secret } });
  expect(Object.entries(env)).toEqual([
    ["__proto__", secret],
    ["constructor", secret],
  ]);
});
