/** A Secret Service of a test's own, and keychains that do what no real one does here. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeEach, onTestFinished } from "vitest";
import { hasSecretService as isInstalled } from "../../../../scripts/system.ts";
import type { Keychain } from "../../../../src/node/stores/keychain/calls.ts";
import type { Command } from "./program.ts";

/** In CI a missing service is a failure; elsewhere the tests say that they were skipped. */
export const hasSecretService = isInstalled() || Boolean(process.env.CI);

// The keychains here are fakes, or of a session of their own.
beforeEach(() => {
  delete process.env.MCP_AUTH_KEYCHAIN;
});

/** A folder that goes with the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** gnome-keyring on a bus of its own. What it is asked in this process needs its address in the environment. */
export interface SecretService {
  /** For `DBUS_SESSION_BUS_ADDRESS`. */
  readonly address: string;
  /** Nobody can unlock it again: there is no display for a prompt. */
  lock(): Promise<void>;
  /** It does not answer any more. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Ends bus and daemon. */
  stop(): Promise<void>;
}

/** Starts one whose keyring is unlocked. It ends with this process, too. */
export async function secretService(): Promise<SecretService> {
  const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-"));
  const { DISPLAY, WAYLAND_DISPLAY, DBUS_SESSION_BUS_ADDRESS, ...env } = process.env;
  const unlock = 'printf %s pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null; echo "$DBUS_SESSION_BUS_ADDRESS"; exec cat';
  const session = spawn("dbus-run-session", ["--", "bash", "-c", unlock], {
    env: { ...env, HOME: folder, XDG_RUNTIME_DIR: folder },
    stdio: ["pipe", "pipe", "ignore"],
  });
  const [address] = (await once(createInterface({ input: session.stdout }), "line")) as [string];
  const gdbus = async (...options: string[]) => {
    const { stdout } = await promisify(execFile)("gdbus", options, { env: { ...env, DBUS_SESSION_BUS_ADDRESS: address } });
    return stdout;
  };
  const call = (to: string, path: string, method: string, argument: string) =>
    gdbus("call", "--session", "--dest", to, "--object-path", path, "--method", method, argument);
  // The daemon goes to the background before it can be called.
  await gdbus("wait", "--session", "--timeout", "15", "org.freedesktop.secrets");
  const answer = await call(
    "org.freedesktop.DBus",
    "/org/freedesktop/DBus",
    "org.freedesktop.DBus.GetConnectionUnixProcessID",
    "org.freedesktop.secrets",
  );
  const daemon = Number(/uint32 (\d+)/.exec(answer)?.[1]);
  const collection = "['/org/freedesktop/secrets/collection/login']";
  return {
    address,
    lock: async () =>
      void (await call("org.freedesktop.secrets", "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock", collection)),
    freeze: async () => void process.kill(daemon, "SIGSTOP"),
    thaw: async () => void process.kill(daemon, "SIGCONT"),
    async stop() {
      session.stdin.end();
      await once(session, "close");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs `program.ts` in a process of its own, without a session unless `env` has one. */
export function start(command: Command, env: Record<string, string> = {}): ChildProcess {
  const { DISPLAY, WAYLAND_DISPLAY, DBUS_SESSION_BUS_ADDRESS, NODE_OPTIONS, ...own } = process.env;
  const child = spawn(process.execPath, [fileURLToPath(new URL("program.ts", import.meta.url)), JSON.stringify(command)], {
    env: { ...own, XDG_RUNTIME_DIR: "/nonexistent", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** The JSON that the program printed, when it has ended; `undefined` when it was killed. `onOutput` runs before its end. */
export async function run<T>(command: Command, env?: Record<string, string>, onOutput?: () => void): Promise<T | undefined> {
  const child = start(command, env);
  if (onOutput) child.stdout?.once("data", onOutput);
  let output = "";
  let problems = "";
  child.stdout?.on("data", (data) => (output += data));
  child.stderr?.on("data", (data) => (problems += data));
  const [code, signal] = await once(child, "close");
  if (signal === "SIGKILL") return undefined;
  if (code !== 0) throw new Error(`exit code ${code}: ${problems}`);
  return JSON.parse(output) as T;
}

/** A keychain in memory. */
export class FakeKeychain implements Keychain {
  readonly entries: Map<string, string>;
  /** Every call, as `get account`. */
  readonly calls: string[] = [];
  /** Runs before each call; what it throws the call throws. */
  before: (call: string) => Promise<void> | void = () => {};

  /** @param entries those of another one: two processes ask the same keychain */
  constructor(entries = new Map<string, string>()) {
    this.entries = entries;
  }

  async getPassword(service: string, account: string): Promise<string | null> {
    await this.#called(`get ${account}`);
    return this.entries.get(`${service} ${account}`) ?? null;
  }

  async setPassword(service: string, account: string, password: string): Promise<void> {
    await this.#called(`set ${account}`);
    this.entries.set(`${service} ${account}`, password);
  }

  async deletePassword(service: string, account: string): Promise<boolean> {
    await this.#called(`delete ${account}`);
    return this.entries.delete(`${service} ${account}`);
  }

  async #called(call: string): Promise<void> {
    this.calls.push(call);
    await this.before(call);
  }
}

/** Windows' Credential Manager: takes 2,560 bytes in UTF-16, cuts the rest, tells no upper from lower case in names. */
export class WindowsKeychain extends FakeKeychain {
  override getPassword(service: string, account: string): Promise<string | null> {
    return super.getPassword(service, account.toLowerCase());
  }

  override setPassword(service: string, account: string, password: string): Promise<void> {
    return super.setPassword(service, account.toLowerCase(), Buffer.from(password, "utf16le").subarray(0, 2560).toString("utf16le"));
  }

  override deletePassword(service: string, account: string): Promise<boolean> {
    return super.deletePassword(service, account.toLowerCase());
  }
}
