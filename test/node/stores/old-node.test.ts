/** A Node before 22.3, which cannot give its modules. In a file of its own: what is loaded here is of no use to other tests. */
import { expect, test, vi } from "vitest";

const { getBuiltinModule } = process;

test.each<[name: "sqliteStore" | "keychainStore", app: string | undefined]>([
  ["sqliteStore", "old-node-test"],
  ["keychainStore", "old-node-test"],
  ["sqliteStore", undefined],
  ["keychainStore", undefined],
])("%s, app %s: names the Node, not the disk", async (name, app) => {
  vi.resetModules();
  Reflect.deleteProperty(process, "getBuiltinModule");
  try {
    const stores = await import("../../../src/node/stores/on-demand.ts");
    const reason = await stores[name]({ app }).get("tokens").catch(String);
    expect(reason).toBe(
      `McpAuthError: This runtime cannot be used: Node ${process.versions.node} has no \`node:sqlite\`. Pass a \`store\`, or use Node 22.13 or newer.`,
    );
  } finally {
    process.getBuiltinModule = getBuiltinModule;
  }
});
