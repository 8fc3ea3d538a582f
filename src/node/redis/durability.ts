import { type Commands, textIn } from "./commands.ts";

/** Why Redis may lose logins: it deletes any record when its memory is full; it forgets what it wrote since its last snapshot. */
export type StoreRisk = "evicts" | "not-persistent";

/** What Redis says of itself, of its first node. @throws McpAuthError where it may not be asked */
export async function risksOf(commands: Commands): Promise<StoreRisk[]> {
  const [ask] = await commands.nodes();
  const info = async (section: string) => textIn(await ask?.(["INFO", section])) ?? "";
  const [memory, persistence] = [await info("memory"), await info("persistence")];
  return [
    // The other policies delete only what expires: no login.
    ...(/^maxmemory_policy:allkeys/m.test(memory) && !/^maxmemory:0\s*$/m.test(memory) ? (["evicts"] as const) : []),
    ...(/^aof_enabled:0/m.test(persistence) ? (["not-persistent"] as const) : []),
  ];
}
