/** What the tests need beyond npm packages: Chromium. Installs it on Debian as root, elsewhere says how to get it. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Path of Chromium or Chrome: `CHROMIUM_PATH`, else the first that `PATH` has. */
export function chromiumPath(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
  const folders = (process.env.PATH ?? "").split(delimiter);
  return [process.env.CHROMIUM_PATH ?? "", ...names.flatMap((name) => folders.map((folder) => join(folder, name)))].find(executable);
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return path !== "";
  } catch {
    return false;
  }
}

if (import.meta.main) {
  if (!chromiumPath() && existsSync("/etc/debian_version") && process.getuid?.() === 0) {
    const options = { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } } as const;
    execFileSync("apt-get", ["update"], options);
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", "chromium"], options);
  }
  const chromium = chromiumPath();
  console.log(
    chromium
      ? `chromium: ${chromium}`
      : "Missing: Chromium, which the browser tests drive. Debian, Ubuntu: `sudo apt-get install chromium`; macOS: `brew install --cask chromium`; " +
          "or set CHROMIUM_PATH to a Chromium or Chrome that is installed.",
  );
  // 2 tells the runner "not here"; it decides whether that may be skipped.
  process.exitCode = chromium ? 0 : 2;
}
