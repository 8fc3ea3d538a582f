/** What {@link interactivity} looks at. */
export interface InteractivityFacts {
  /** The app's word: `false` never asks anybody, `true` always, unset decides by the surroundings. */
  interactive?: boolean | undefined;
  /** `process.env`, or a part of it. */
  env: Readonly<Record<string, string | undefined>>;
  /** `process.platform`. */
  platform: string;
  /** Whether a user can type here: stdin and stderr are a terminal. */
  isTerminal: boolean;
}

/**
 * Whether a user can be asked to log in, and how: by a `browser` on this machine, by a browser elsewhere whose answer is
 * pasted or forwarded (`paste`), or not at all (`none`).
 */
export function interactivity(facts: InteractivityFacts): "browser" | "paste" | "none" {
  const { interactive, env, platform } = facts;
  if (interactive === false) return "none";
  if (interactive === undefined && env.CI && env.CI !== "false" && env.CI !== "0") return "none";
  const wsl = env.WSL_DISTRO_NAME || env.WSL_INTEROP;
  const ownDisplay = platform === "darwin" || platform === "win32" || wsl || env.DISPLAY || env.WAYLAND_DISPLAY;
  // Over SSH the display, if there is one, is seldom the one that the user looks at.
  if (ownDisplay && !env.SSH_CONNECTION && !env.SSH_TTY) return "browser";
  // Looked at last: `process.stdin` costs 6 ms.
  return facts.isTerminal || interactive ? "paste" : "none";
}
