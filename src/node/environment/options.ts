import type { MachineTokenManagerOptions } from "../../machine/options.ts";
import type { Rules } from "../../options.ts";
import { sessionRules } from "../../tokens/options.ts";

/** Options of `fromEnvironment`: what the environment does not say. */
export type EnvironmentOptions = Pick<
  MachineTokenManagerOptions,
  "store" | "fetch" | "requestTimeout" | "maxTokenRequests" | "allowInsecure" | "keepFresh" | "onEvent" | "clock"
>;

export function environmentRules(): Rules<EnvironmentOptions> {
  const { store, fetch, requestTimeout, maxTokenRequests, allowInsecure, keepFresh, onEvent, clock } = sessionRules();
  return { store, fetch, requestTimeout, maxTokenRequests, allowInsecure, keepFresh, onEvent, clock };
}
