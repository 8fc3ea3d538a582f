import type { Rules } from "../../options.ts";
import { type SessionOptions, sessionRules } from "../../tokens/options.ts";

/** Options of `fromEnvironment`: what the environment does not say. */
export type EnvironmentOptions = Pick<SessionOptions, "store" | "fetch" | "allowInsecure" | "keepFresh" | "onEvent" | "clock">;

export function environmentRules(): Rules<EnvironmentOptions> {
  const { store, fetch, allowInsecure, keepFresh, onEvent, clock } = sessionRules();
  return { store, fetch, allowInsecure, keepFresh, onEvent, clock };
}
