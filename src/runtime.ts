import { McpAuthError } from "./errors.ts";

/** What the oldest runtime of today has, and those before it lack: the name, and where it is. */
const needed: readonly [name: string, owner: object, member: string][] = [
  ["URL.parse", URL, "parse"],
  ["Promise.withResolvers", Promise, "withResolvers"],
  ["Map.groupBy", Map, "groupBy"],
];

/**
 * Says at the door that a runtime is too old, before something fails in the middle. Not at the import: a page or a command that
 * never logs in has nothing to fear.
 *
 * @throws McpAuthError `unsupported_runtime`
 */
export function checkRuntime(): void {
  const missing = needed.find(([, owner, member]) => !(member in owner));
  if (missing) throw unsupported(missing[0]);
}

/** The error for something that only newer runtimes have. */
export function unsupported(missing: string, hint?: string): McpAuthError {
  return new McpAuthError("unsupported_runtime", { detail: `${runtimeName()} has no \`${missing}\``, hint });
}

function runtimeName(): string {
  const { process, navigator } = globalThis as { process?: { versions?: Record<string, string> }; navigator?: Navigator };
  const { bun, deno, node } = process?.versions ?? {};
  // Bun and Deno tell Node's version as well: that of the Node which they imitate.
  if (bun) return `Bun ${bun}`;
  if (deno) return `Deno ${deno}`;
  return node ? `Node ${node}` : (navigator?.userAgent ?? "it");
}
