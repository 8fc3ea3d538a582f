import { expect, test } from "vitest";
import { interactivity } from "../../../src/node/login/interactive.ts";

const ssh = { SSH_CONNECTION: "192.0.2.9 50000 192.0.2.1 22" };
const display = { DISPLAY: ":0" };

test.each<
  [rule: string, interactive: boolean | undefined, env: Record<string, string>, platform: string, isTerminal: boolean, way: string]
>([
  // the option comes first
  ["false: nobody", false, display, "linux", true, "none"],
  ["false on a Mac: nobody", false, {}, "darwin", true, "none"],
  ["true in CI: somebody", true, { CI: "true", ...display }, "linux", false, "browser"],
  ["true without display: paste", true, {}, "linux", false, "paste"],
  ["true over SSH: paste", true, ssh, "darwin", false, "paste"],
  // then CI
  ["CI: nobody", undefined, { CI: "true", ...display }, "linux", true, "none"],
  ["CI=1: nobody", undefined, { CI: "1" }, "darwin", true, "none"],
  ["CI=false is no CI", undefined, { CI: "false" }, "darwin", true, "browser"],
  ["empty CI is no CI", undefined, { CI: "" }, "darwin", true, "browser"],
  // then SSH
  ["SSH with a terminal: paste", undefined, ssh, "linux", true, "paste"],
  ["SSH_TTY counts, too", undefined, { SSH_TTY: "/dev/pts/1" }, "linux", true, "paste"],
  ["SSH to a Mac: paste", undefined, ssh, "darwin", true, "paste"],
  ["SSH with a display: paste all the same", undefined, { ...ssh, ...display }, "linux", true, "paste"],
  ["SSH without terminal: nobody", undefined, ssh, "linux", false, "none"],
  // then the display
  ["X11: browser", undefined, display, "linux", false, "browser"],
  ["Wayland: browser", undefined, { WAYLAND_DISPLAY: "w-0" }, "linux", false, "browser"],
  ["WSL: the browser of Windows", undefined, { WSL_DISTRO_NAME: "D" }, "linux", false, "browser"],
  ["WSL, seen by its interop socket", undefined, { WSL_INTEROP: "/run/x" }, "linux", false, "browser"],
  ["no display, a terminal: paste", undefined, {}, "linux", true, "paste"],
  ["no display, no terminal: nobody", undefined, {}, "linux", false, "none"],
  ["an empty DISPLAY is none", undefined, { DISPLAY: "" }, "linux", false, "none"],
  ["FreeBSD is as Linux", undefined, {}, "freebsd", false, "none"],
  ["a Mac: browser", undefined, {}, "darwin", false, "browser"],
  ["Windows: browser", undefined, {}, "win32", false, "browser"],
])("%s", (_rule, interactive, env, platform, isTerminal, way) => {
  expect(interactivity({ interactive, env, platform, isTerminal })).toBe(way);
});
