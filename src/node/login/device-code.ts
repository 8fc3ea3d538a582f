import { type Clock, systemClock } from "../../clock.ts";
import type { DeviceCodePrompt } from "../../grants/device-code.ts";
import { callback, checkOptions, clock as clockRule, needed, type Rule } from "../../options.ts";
import { printToStderr } from "./print.ts";

const promptRule: Rule = [
  "what `onDeviceCode` receives",
  (value) =>
    typeof Reflect.get(Object(value), "userCode") === "string" && typeof Reflect.get(Object(value), "verificationUri") === "string",
];

/**
 * Prints where to log in and the code to type in there: an `onDeviceCode` for programs at a terminal. What `createMcpAuth`
 * uses over SSH.
 *
 * @param prompt the code and where it is typed in
 * @param print receives the text. Default: stderr, because stdout may be a protocol's.
 * @param clock tells how long the code is good. Default: `systemClock`
 * @throws McpAuthError `invalid_option`
 */
export function printDeviceCode(prompt: DeviceCodePrompt, print: (text: string) => void = printToStderr, clock: Clock = systemClock): void {
  checkOptions({ prompt, print, clock }, { prompt: needed(promptRule), print: needed(callback), clock: needed(clockRule()) });
  const { userCode, verificationUri, verificationUriComplete, expiresAt } = prompt;
  const minutes = Math.max(Math.floor((expiresAt - clock.now()) / 60_000), 1);
  const lines = ["To log in, open this address in a browser on any device:", "", `  ${verificationUri}`, ""];
  lines.push("and enter this code:", "", `  ${userCode}`, "");
  if (verificationUriComplete)
    lines.push("Or open this address, and check that it shows the same code:", "", `  ${verificationUriComplete}`, "");
  lines.push(`The code is good for ${minutes === 1 ? "a minute" : `${minutes} minutes`}. The program goes on by itself.`);
  print(lines.join("\n"));
}
