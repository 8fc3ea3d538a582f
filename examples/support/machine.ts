import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { McpAuthOptions } from "mcp-client-auth/node";
import { type ProtectedServer, person, startProtectedServer } from "../../test/fixture/index.ts";

/** A machine to play on: a protected server, a user, and a data folder and a keychain that are gone afterwards. */
export interface Machine extends AsyncDisposable {
  server: ProtectedServer;
  /** Added to the options of a program in this process. */
  options: McpAuthOptions;
  /** Types a command of `cli.ts`, which runs in a process of its own, and prints what it answers. */
  type(...words: string[]): Promise<void>;
  /** How often a browser window was opened. */
  readonly windows: number;
}

/** Starts one. */
export async function startMachine(): Promise<Machine> {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-example-"));
  const server = await startProtectedServer();
  console.log("No URL given: a protected server is started in this process, and a script plays the user who logs in there.");
  return {
    server,
    options: optionsFor(folder),
    async type(...words) {
      const program = [join(import.meta.dirname, "../cli.ts"), server.url, ...words];
      const { stdout } = await promisify(execFile)(process.execPath, program, { env: { ...process.env, EXAMPLE_FOLDER: folder } });
      console.log(`\n$ acme ${words.join(" ")}\n${stdout.trimEnd()}`);
    },
    get windows() {
      return server.authorizationServer.requests.filter(({ path }) => path === "/authorize").length;
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** What a program adds to its options when {@link Machine.type} has started it; nothing otherwise. */
export function playedOptions(): McpAuthOptions {
  const folder = process.env.EXAMPLE_FOLDER;
  return folder === undefined ? {} : optionsFor(folder);
}

function optionsFor(folder: string): McpAuthOptions {
  return {
    folder,
    keychain: standInKeychain(join(folder, "keychain.json")),
    interactive: true,
    print: () => {},
    openBrowser: async (address) => void (await person(address)),
  };
}

/** Stands in for the keychain of the operating system, which examples leave alone: a file that protects nothing. */
function standInKeychain(file: string): McpAuthOptions["keychain"] {
  const read = (): Record<string, string> => (existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, string>) : {});
  return {
    getPassword: async (service, account) => read()[`${service} ${account}`] ?? null,
    setPassword: async (service, account, password) => {
      writeFileSync(file, JSON.stringify({ ...read(), [`${service} ${account}`]: password }));
    },
    deletePassword: async (service, account) => {
      const { [`${service} ${account}`]: found, ...others } = read();
      writeFileSync(file, JSON.stringify(others));
      return found !== undefined;
    },
  };
}
