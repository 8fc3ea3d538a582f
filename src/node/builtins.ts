/**
 * Node's modules, without the ES modules that Node makes of them when they are imported: at each start of a program those cost
 * 4 ms for `node:fs`, 7 for `node:crypto`, and a stored login takes 15 in all. A runtime that cannot give them gets an error when
 * it is used, not here.
 */
export const fs = process.getBuiltinModule?.("node:fs");
export const { basename, dirname, isAbsolute, join } = process.getBuiltinModule?.("node:path") ?? ({} as typeof import("node:path"));
export const crypto = () => process.getBuiltinModule("node:crypto");
export const homedir = () => process.getBuiltinModule("node:os").homedir();

/** SHA-256 in hexadecimal. */
export function sha256(text: string): string {
  return crypto().hash("sha256", text);
}
