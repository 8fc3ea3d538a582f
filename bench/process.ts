/** One of several processes that share a login: does what `processes.ts` tells it. */
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Connection } from "./client.ts";

export type ClientKind = "ours" | "v1" | "v2";

export type ProcessRequest = { do: "connect"; url: string; aheadMs: number } | { do: "call" };

/** The first one says that the process is ready. */
export interface ProcessAnswer {
  error?: string;
}

type Connect = (url: string, aheadMs: number) => Promise<Connection>;

/** What the client imports is loaded before the process is ready. */
async function load(kind: ClientKind, folder: string): Promise<Connect> {
  const isPresent = () => !existsSync(join(folder, "away"));
  const openWindow = () => appendFileSync(join(folder, "windows"), "window\n");
  if (kind === "ours") {
    const { createOurs, connectOurs } = await import("./ours.ts");
    return (url, aheadMs) => connectOurs(createOurs(url, { isPresent, openWindow, aheadMs: () => aheadMs }));
  }
  const { connectSdk, InFiles, sdks } = await import("./sdk.ts");
  const provider = new InFiles(files(folder), openWindow);
  return (url) => connectSdk(sdks[kind], { url, provider, fetch: globalThis.fetch, isPresent });
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

process.on("message", async (request: ProcessRequest) => {
  const answer: ProcessAnswer = {};
  try {
    if (request.do === "connect") connection = await connect(request.url, request.aheadMs);
    else await connection?.call();
  } catch (error) {
    answer.error = String(error);
  }
  process.send?.(answer);
});
process.on("disconnect", () => process.exit());
process.send?.({} satisfies ProcessAnswer);
