/** What the README shows and claims, held against the code. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";
import { describe, expect, onTestFinished, test } from "vitest";
import { McpAuthError, type McpAuthErrorCode } from "../src/index.ts";
import { prefix, secretNames, textNames } from "../src/node/environment/variables.ts";
import { startProtectedServer } from "./fixture/index.ts";

const root = join(import.meta.dirname, "..");
const text = (path: string) => readFile(join(root, path), "utf8");
const readme = await text("README.md");
const guides = await Promise.all(["docs/machines.md", "docs/credentials.md", "docs/hosted.md", "docs/redis.md"].map(text));
const blocksOf = (page: string) => [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code = ""]) => code);
const blocks = blocksOf(readme);

/** The part of a page below one heading. */
function section(title: string, page = readme): string {
  return page.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? "";
}

/** Everything in backticks in one column of the section's table. */
function column(title: string, index: number, page = readme): string[] {
  const rows = section(title, page)
    .split("\n")
    .filter((line) => /^\| (?!---)/.test(line));
  const cells = rows.slice(1).map((row) => row.split(" | ")[index] ?? "");
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name));
}

/** What is wrong with TypeScript modules that lie in the project's folder. */
function problems(modules: string[]): string[] {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ["x.ts"] }, ts.sys, root);
  const files = new Map(modules.map((code, index) => [join(root, `readme-${index}.ts`), code]));
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.getSourceFile = (name, target) => {
    const code = files.get(name);
    return code === undefined ? getSourceFile(name, target) : ts.createSourceFile(name, code, target);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return [...files].flatMap(([name, code]) =>
    ts.getPreEmitDiagnostics(program, program.getSourceFile(name)).map(({ messageText, start = 0 }) => {
      const line = code.slice(0, start).split("\n").length;
      return `${code.split("\n")[line - 1]}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    }),
  );
}

describe("README: code", () => {
  test("every TypeScript block compiles, and the tables have every option and no other", { timeout: 120_000 }, () => {
    expect(blocks.length).toBeGreaterThan(5);
    expect(guides.every((page) => blocksOf(page).length > 2)).toBe(true);
    const modules = [readme, ...guides].flatMap(blocksOf).map((code) => {
      const isWhole = /\bauth = /.test(code);
      return isWhole ? code : `${code}\ndeclare const auth: import("mcp-client-auth").TokenManager;`;
    });
    for (const [page, all] of [
      [readme, `keyof import("mcp-client-auth/node").McpAuthOptions`],
      [guides[0], `keyof import("mcp-client-auth/machine").MachineTokenManagerOptions`],
    ]) {
      const options = column("Options", 0, page).map((name) => `"${name}"`);
      expect(options).not.toEqual([]);
      modules.push(`export const names: (${all})[] = [${options.join(", ")}];`);
      modules.push(`export const missing: never = {} as Exclude<${all}, ${options.join(" | ")}>;`);
    }
    expect(problems(modules)).toEqual([]);
    // That mistakes are seen at all.
    expect(problems([`export const name: keyof import("mcp-client-auth/node").McpAuthOptions = "nonsense";`])).toHaveLength(1);
  });

  // A user who is a program needs the system's opener to start it.
  test.runIf(process.platform === "linux")(
    "the quick start logs in by the browser, once, and lists the tools",
    { timeout: 120_000 },
    async () => {
      await using server = await startProtectedServer();
      const folder = await mkdtemp(join(tmpdir(), "readme-"));
      onTestFinished(() => rm(folder, { recursive: true, force: true }));
      const user = pathToFileURL(join(root, "test/fixture/person.ts")).href;
      await writeFile(join(folder, "user.mjs"), `import { person } from "${user}"; await person(process.argv[2]);`);
      const browser = join(folder, "browser");
      await writeFile(
        browser,
        `#!/bin/sh\nexec "${process.execPath}" "${join(folder, "user.mjs")}" "$1" 2>>"${join(folder, "user.log")}"\n`,
      );
      await chmod(browser, 0o755);

      const [quickStart = ""] = blocks;
      const program = quickStart
        .replace("https://mcp.example.com/mcp", server.url)
        .replace("mcp-client-auth/node", pathToFileURL(join(root, "src/node/index.ts")).href);
      for (const _start of ["first", "second"]) {
        const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
          cwd: root,
          timeout: 45_000,
          // A desktop without any browser but ours.
          env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, HOME: folder, DISPLAY: ":0", BROWSER: browser, XDG_DATA_DIRS: folder },
        }).catch(async (cause: unknown) => {
          throw new Error(`the user: ${await readFile(join(folder, "user.log"), "utf8").catch(String)}`, { cause });
        });
        expect(stdout).toBe("[ 'whoami', 'add', 'write_note', 'count', 'slow' ]\n");
      }
      expect(server.authorizationServer.tokenRequests("authorization_code")).toHaveLength(1);
    },
  );
});

describe("README: tables", () => {
  test("what was counted is what the bench says", async () => {
    const bench = (await text("bench/README.md")).split("\n");
    const [, table = ""] = /counts here.*?\n\n(.*?)\n\n/s.exec(readme) ?? [];
    const rows = table.split("\n");
    expect(rows.length).toBeGreaterThan(6);
    expect(rows.filter((row) => !bench.includes(row))).toEqual([]);
  });

  test("every variable of the environment is there, and no other", () => {
    const names = [...textNames, ...secretNames].map((name) => prefix + name);
    expect(column("Programs without a user", 0).toSorted()).toEqual(names.toSorted());
  });

  test("every error code is there, and no other", async () => {
    const codes = [...(await text("src/errors.ts")).matchAll(/^ {2}([a-z_]+): (?:\[|$)/gm)].map(([, code = ""]) => code);
    expect(codes).toContain("login_required");
    expect(column("Errors", 0).toSorted()).toEqual(codes.toSorted());
    const [, transient = ""] = /`error\.transient` is true for (.*?)\./.exec(section("Errors")) ?? [];
    const named = [...transient.matchAll(/`(\w+)`/g)].map(([, code = ""]) => code);
    expect(named).toEqual(codes.filter((code) => new McpAuthError(code as McpAuthErrorCode).transient));
  });

  test("every event is there, and no other", async () => {
    const events = [...(await text("src/events.ts")).matchAll(/\{\s+type: "([\w.-]+)"/g)].map(([, type = ""]) => type);
    expect(events).toContain("refresh.shared");
    expect(column("Events", 1).toSorted()).toEqual([...new Set(events)].toSorted());
  });

  test("every command and every linked file exists", async () => {
    const { scripts, version } = JSON.parse(await text("package.json")) as { scripts: Record<string, string>; version: string };
    const pages = [readme, ...guides].join("\n");
    const commands = [...pages.matchAll(/npm run ([\w:]+)/g)].map(([, name = ""]) => name);
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(commands));
    expect(readme).toContain(`mcp-client-auth-${version}.tgz`);
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path = ""]) => path);
    expect(links).not.toEqual([]);
    expect(links.filter((path) => !ts.sys.fileExists(join(root, path)) && !ts.sys.directoryExists(join(root, path)))).toEqual([]);
  });
});
