/**
 * What the tests need beyond npm packages: Chromium, a Secret Service, OpenSSL, Redis, and `keytar` built for this machine. Installs it
 * on Debian as root, elsewhere says how to get it.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";

/** Path of Chromium or Chrome: `CHROMIUM_PATH`, else the first that `PATH` has. */
export function chromiumPath(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
  return [process.env.CHROMIUM_PATH ?? "", ...names.flatMap(places)].find(executable);
}

/** Programs of a Secret Service that runs without a desktop. */
const secretServicePrograms = ["dbus-run-session", "gnome-keyring-daemon", "gdbus"];

/** Whether a Secret Service can be started here, and `keytar` can speak to it. */
export function hasSecretService(): boolean {
  return secretServicePrograms.every((name) => places(name).some(executable)) && isKeytarBuilt();
}

/** Whether test certificates can be made. */
export function hasOpenssl(): boolean {
  return places("openssl").some(executable);
}

/** Whether Redis can be started. */
export function hasRedis(): boolean {
  return places("redis-server").some(executable);
}

function places(program: string): string[] {
  return (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, program));
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return path !== "";
  } catch {
    return false;
  }
}

function isKeytarBuilt(): boolean {
  try {
    createRequire(import.meta.url)("keytar");
    return true;
  } catch {
    return false;
  }
}

/** `npm ci` does not run its install script: that needs what is installed here. */
function buildKeytar(): void {
  const folder = dirname(createRequire(import.meta.url).resolve("keytar/package.json"));
  try {
    execFileSync("npm", ["run", "build"], { cwd: folder, stdio: "inherit" });
  } catch (error) {
    console.error(`keytar could not be built: ${(error as Error).message}`);
  }
}

function installDebianPackages(): void {
  const packages = [
    ...(chromiumPath() ? [] : ["chromium"]),
    ...(hasOpenssl() ? [] : ["openssl"]),
    ...(hasRedis() ? [] : ["redis-server"]),
    ...(hasSecretService() ? [] : ["dbus", "gnome-keyring", "libglib2.0-bin", "libsecret-1-dev", "g++", "make", "pkg-config", "python3"]),
  ];
  if (packages.length === 0) return;
  const options = { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } } as const;
  execFileSync("apt-get", ["update"], options);
  execFileSync("apt-get", ["install", "-y", "--no-install-recommends", ...packages], options);
}

if (import.meta.main) {
  if (existsSync("/etc/debian_version") && process.getuid?.() === 0) installDebianPackages();
  if (!isKeytarBuilt()) buildKeytar();
  const chromium = chromiumPath();
  console.log(
    chromium
      ? `chromium: ${chromium}`
      : "Missing: Chromium, which the browser tests drive. Debian, Ubuntu: `sudo apt-get install chromium`; macOS: `brew install --cask chromium`; " +
          "or set CHROMIUM_PATH to a Chromium or Chrome that is installed.",
  );
  const secretService = hasSecretService();
  console.log(
    secretService
      ? "secret service: gnome-keyring, and keytar is built"
      : "Missing: a Secret Service and `keytar`, which the keychain tests use. Debian, Ubuntu: " +
          "`sudo apt-get install dbus gnome-keyring libglib2.0-bin libsecret-1-dev g++ make pkg-config python3`.",
  );
  const openssl = hasOpenssl();
  console.log(
    openssl
      ? "openssl is here"
      : "Missing: OpenSSL 3, which makes the certificates of tests. Debian, Ubuntu: `sudo apt-get install openssl`; macOS: `brew install openssl`.",
  );
  const redis = hasRedis();
  console.log(
    redis
      ? "redis-server is here"
      : "Missing: Redis, which the tests of its store start. Debian, Ubuntu: `sudo apt-get install redis-server`; macOS: `brew install redis`.",
  );
  // 2 tells the runner "not here"; it decides whether that may be skipped.
  process.exitCode = chromium && secretService && openssl && redis ? 0 : 2;
}
