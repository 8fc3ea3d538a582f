/** Under which name a program that gives none keeps its logins: real programs, that are moved and renamed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { StoreStatus } from "../../../src/index.ts";
import { fs, sha256 } from "../../../src/node/builtins.ts";
import { programNameSpace } from "../../../src/node/stores/program.ts";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

// Every test starts programs, one after the other.
vi.setConfig({ testTimeout: 60_000 });

/** What a program says of its store: the record that it found, before it wrote one. */
interface Said {
  found: { from: string } | null;
  status: StoreStatus;
  events: { type: string; app?: StoreStatus["app"] }[];
}

const source = `
  import { writeSync } from "node:fs";
  import { sqliteStore } from ${JSON.stringify(import.meta.resolve("../../../src/node/stores/on-demand.ts"))};
  const events = [];
  const store = sqliteStore({ onEvent: (event) => events.push(event) });
  try {
    const found = (await store.get("login")) ?? null;
    await store.set("login", { v: 1, from: process.env.CALLED });
    writeSync(1, JSON.stringify({ found, status: await store.status(), events }));
  } catch ({ code, message, transient }) {
    writeSync(1, JSON.stringify({ code, message, transient }));
  }`;

/** A folder for programs, and one for their logins. */
function place() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mcp-client-auth-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const data = join(folder, "data");
  const path = (name: string) => join(folder, "programs", name);
  const write = (name: string, text: string) => {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), text);
    return path(name);
  };
  return {
    data,
    path,
    store: (app: string) => new SqliteStore({ app, folder: data, keychain: false }),
    package: (name: string, content: unknown) =>
      write(join(name, "package.json"), typeof content === "string" ? content : JSON.stringify(content)),
    program: (name: string) => write(name, source),
    run: <T = Said>(name: string, executable = process.execPath): T =>
      JSON.parse(
        execFileSync(executable, name === "-" ? ["--input-type=module", "-"] : [path(name)], {
          env: { ...process.env, MCP_AUTH_DATA_DIR: data, CALLED: name },
          input: name === "-" ? source : "",
          encoding: "utf8",
          stdio: ["pipe", "pipe", "ignore"],
        }),
      ) as T,
  };
}

describe("a program is called as the package that it belongs to", () => {
  test.each([
    // script,                packages,                                                                       name
    ["agent/cli.mjs", { agent: { name: "agent" } }, "agent", "agent"],
    ["agent/dist/cli.mjs", { agent: { name: "agent" }, "agent/dist": { type: "module" } }, "agent", "agent"],
    ["scoped/bin/run.mjs", { scoped: { name: "@acme/agent" } }, "@acme+agent", "scoped"],
    ["inner/tool/run.mjs", { inner: { name: "whole" }, "inner/tool": { name: "tool" } }, "tool", "inner/tool"],
    ["marked/run.mjs", { marked: '\uFEFF{"name":"marked"}' }, "marked", "marked"],
  ] as [string, Record<string, unknown>, string, string][])("%s of %j: %s", (script, packages, name, where) => {
    const at = place();
    for (const [folder, content] of Object.entries(packages)) at.package(folder, content);
    at.program(script);
    const { status, events } = at.run(script);
    const app = { name, from: "package", path: at.path(join(where, "package.json")) };
    expect(status).toEqual({ kind: "sqlite", path: join(at.data, name), app, key: "file" });
    expect(events).toEqual([expect.objectContaining({ type: "store.opened", app })]);
  });
});

describe("without a package that has a name, logins belong to the folder", () => {
  test.each([
    ["of the nearest package.json", { tool: { type: "module" } }, "tool/dist/run.mjs", "tool"],
    ["of the nearest package.json, whose name is empty", { tool: { name: "" } }, "tool/run.mjs", "tool"],
    ["of the nearest package.json, whose name no folder can have", { tool: { name: "a: b" } }, "tool/run.mjs", "tool"],
    ["of the nearest package.json, whose name is no text", { tool: { name: ["x"] } }, "tool/run.mjs", "tool"],
    ["of the script, where there is no package.json", {}, "tool/run.mjs", "tool"],
  ] as [string, Record<string, unknown>, string, string][])("%s", (_, packages, script, home) => {
    const at = place();
    for (const [folder, content] of Object.entries(packages)) at.package(folder, content);
    at.program(script);
    const { status, events } = at.run(script);
    const name = expect.stringMatching(/^tool-[0-9a-f]{8}$/);
    expect(status.app).toEqual({ name, from: "folder", path: at.path(home) });
    expect(basename(status.path ?? "")).toBe(status.app?.name);
    expect(events).toEqual([expect.objectContaining({ type: "store.opened", app: status.app })]);
  });

  test.each([
    ["with a package.json", true],
    ["without", false],
  ])("a script that is renamed, and its neighbour, find the login (%s)", (_, isPackage) => {
    const at = place();
    if (isPackage) at.package("tool", { type: "module" });
    at.program("tool/first.mjs");
    at.run("tool/first.mjs");
    renameSync(at.path("tool/first.mjs"), at.path("tool/second.mjs"));
    expect(at.run("tool/second.mjs").found).toEqual({ v: 1, from: "tool/first.mjs" });
    at.program("tool/third.mjs");
    expect(at.run("tool/third.mjs").found).toEqual({ v: 1, from: "tool/second.mjs" });
    expect(readdirSync(at.data)).toHaveLength(1);
  });

  test("two folders share nothing", () => {
    const at = place();
    for (const script of ["one/run.mjs", "two/run.mjs"]) at.program(script);
    at.run("one/run.mjs");
    expect(at.run("two/run.mjs").found).toBeNull();
  });

  test("a link to the script is the script", () => {
    const at = place();
    at.program("tool/run.mjs");
    at.run("tool/run.mjs");
    mkdirSync(at.path("bin"));
    symlinkSync(at.path("tool/run.mjs"), at.path("bin/run"));
    expect(at.run("bin/run").found).toEqual({ v: 1, from: "tool/run.mjs" });
  });

  test("a package that gets a name keeps its logins", () => {
    const at = place();
    at.package("tool", { type: "module" });
    at.program("tool/run.mjs");
    const before = at.run("tool/run.mjs").status;
    at.package("tool", { type: "module", name: "named" });
    const { found, status } = at.run("tool/run.mjs");
    expect([found, status]).toEqual([{ v: 1, from: "tool/run.mjs" }, before]);
  });

  test("logins that belong to a script's path are found by it, and the reason is told", async () => {
    const at = place();
    const name = `run.mjs-${sha256(at.program("tool/run.mjs")).slice(0, 8)}`;
    await at.store(name).set("login", { v: 1, from: "before" });
    const { found, status } = at.run("tool/run.mjs");
    expect(found).toEqual({ v: 1, from: "before" });
    expect(status.app).toEqual({ name, from: "script", path: at.path("tool/run.mjs") });
  });
});

test.each<[what: string, more: object, from: string]>([
  ["packaged: as its executable", {}, "executable"],
  ["started by the `electron` of a developer: as any script", { defaultApp: true }, "other"],
])("an Electron app that is %s", (_what, more, from) => {
  const { versions } = process;
  Object.defineProperty(process, "versions", { value: { ...versions, electron: "40.0.0" }, configurable: true });
  Object.assign(process, more);
  onTestFinished(() => {
    Object.defineProperty(process, "versions", { value: versions, configurable: true });
    Reflect.deleteProperty(process, "defaultApp");
  });
  expect(programNameSpace(() => false).from === "executable" ? "executable" : "other").toBe(from);
});

test.each([
  ["EACCES", "passed over"],
  ["EPERM", "passed over"],
  ["ENOTDIR", "passed over"],
  ["ELOOP", "passed over"],
  ["EIO", "store_failed"],
  ["ENAMETOOLONG", "store_unusable"],
])("a package.json that cannot be looked at, %s: %s", (code, expected) => {
  vi.spyOn(fs, "statSync").mockImplementation(() => {
    throw Object.assign(new Error(code), { code });
  });
  onTestFinished(() => void vi.restoreAllMocks());
  const found = () => {
    try {
      return programNameSpace(() => false).from === "folder" ? "passed over" : "used";
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  expect(found()).toBe(expected);
});

test("the name of a script is one that any folder can have, however long the script's own", () => {
  const folder = mkdtempSync(join(tmpdir(), "mcp-client-auth-"));
  const script = join(folder, `${"x".repeat(200)}.mjs`);
  writeFileSync(script, "");
  const [, before = ""] = process.argv;
  process.argv[1] = script;
  onTestFinished(() => {
    process.argv[1] = before;
    rmSync(folder, { recursive: true, force: true });
  });
  const names: string[] = [];
  programNameSpace((name) => {
    names.push(name);
    return false;
  });
  expect(names.at(-1)).toMatch(/^x{91}-[0-9a-f]{8}$/);
});

test("a program without a script is called as its executable", () => {
  const at = place();
  mkdirSync(at.path("."), { recursive: true });
  const { status } = at.run("-");
  expect(status.app).toEqual({ name: basename(process.execPath), from: "executable", path: process.execPath });
});

describe("a package.json in any state", () => {
  const damages: [string, (path: string) => void, "error" | "passed over"][] = [
    ["empty", (path) => writeFileSync(path, ""), "error"],
    ["torn", (path) => writeFileSync(path, '{"name":"tool","ver'), "error"],
    ["not UTF-8", (path) => writeFileSync(path, Buffer.from('{"name":"tool"}', "utf16le")), "error"],
    ["huge", (path) => writeFileSync(path, JSON.stringify({ name: "tool", x: "x".repeat(2_000_000) })), "error"],
    ["a folder", (path) => mkdirSync(path), "passed over"],
    ["a link to itself", (path) => symlinkSync(path, path), "passed over"],
    ["a link to nothing", (path) => symlinkSync(`${path}.gone`, path), "passed over"],
  ];

  test.each(damages)("%s", async (_, damage, outcome) => {
    const at = place();
    const path = at.package("tool", { name: "tool" });
    at.program("tool/run.mjs");
    await at.store("tool").set("login", { v: 1, from: "before" });
    rmSync(path);
    damage(path);
    const said = at.run<Said & { code?: string; message: string; transient: boolean }>("tool/run.mjs");
    // What Node reads as a package must not change its name unnoticed; what Node passes over is none.
    if (outcome === "error") {
      expect(said).toEqual({ code: "store_unusable", transient: false, message: expect.stringContaining(path) });
    } else expect(said.status.app).toMatchObject({ from: "folder" });
    rmSync(path, { recursive: true });
    at.package("tool", { name: "tool" });
    expect(at.run("tool/run.mjs")).toMatchObject({ found: { from: "before" }, status: { app: { from: "package" } } });
  });
});
