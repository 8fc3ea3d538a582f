/** One of several processes that share a login: does what `processes.ts` tells it. */
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Connection } from "./client.ts";
import type { MachineKind } from "./machine-clients.ts";

export type ClientKind = "ours" | "v1" | "v2" | `machine-${MachineKind}`;

export type ProcessRequest =
  | { do: "connect"; url: string; issuer?: string; aheadMs: number }
  | { do: "call" }
  /** Lets a program's clock run ahead. */
  | { do: "age"; aheadMs: number };

/** The first one says that the process is ready. */
export interface ProcessAnswer {
  error?: string;
}

type Connect = (url: string, aheadMs: () => number, issuer?: string) => Promise<Connection>;

/** What the client imports is loaded before the process is ready. */
async function load(kind: ClientKind, folder: string): Promise<Connect> {
  const isPresent = () => !existsSync(join(folder, "away"));
  const openWindow = () => appendFileSync(join(folder, "windows"), "window\n");
  if (kind === "ours") {
    const { createOurs, connectOurs } = await import("./ours.ts");
    return (url, aheadMs) => connectOurs(createOurs(url, { isPresent, openWindow, aheadMs }));
  }
  if (kind.startsWith("machine-")) {
    const [{ machineClient }, { sqliteStore }] = await Promise.all([import("./machine-clients.ts"), import("mcp-client-auth/node")]);
    const machine = kind.replace("machine-", "") as MachineKind;
    return (url, aheadMs, issuer = "") => machineClient(machine, { url, issuer, store: sqliteStore(), aheadMs })();
  }
  const { connectSdk, InFiles, sdks } = await import("./sdk.ts");
  const provider = new InFiles(files(folder), openWindow);
  return (url) => connectSdk(sdks[kind as "v1" | "v2"], { url, provider, fetch: globalThis.fetch, isPresent });
}

/** Values in one JSON file each, replaced as a whole. */
function files(folder: string) {
  const path = (name: string) => join(folder, `${name}.json`);
  return {
    read: (name: string): unknown => (existsSync(path(name)) ? JSON.parse(readFileSync(path(name), "utf8")) : undefined),
    write(name: string, value: unknown): void {
      const temporary = `${path(name)}.${process.pid}`;
      writeFileSync(temporary, JSON.stringify(value ?? null), { mode: 0o600 });
      renameSync(temporary, path(name));
    },
  };
}

const [, , kind, folder = ""] = process.argv;
const connect = await load(kind as ClientKind, folder);
let connection: Connection | undefined;
let aheadMs = 0;

process.on("message", async (request: ProcessRequest) => {
  const answer: ProcessAnswer = {};
  try {
    if (request.do !== "call") aheadMs = request.aheadMs;
    if (request.do === "connect") connection = await connect(request.url, () => aheadMs, request.issuer);
    if (request.do === "call") await connection?.call();
  } catch (error) {
    answer.error = String(error);
  }
  process.send?.(answer);
});
process.on("disconnect", () => process.exit());
process.send?.({} satisfies ProcessAnswer);
