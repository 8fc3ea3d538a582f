/**
 * Node's modules, without the ES modules that Node makes of them when they are imported: at each start of a program those cost
 * 4 ms for `node:fs`, 7 for `node:crypto`, and a stored login takes 15 in all. A runtime that cannot give them gets an error when
 * it is used, not here.
 */
export const fs = process.getBuiltinModule?.("node:fs");

/** SHA-256 in hexadecimal. */
export function sha256(text: string): string {
  return process.getBuiltinModule("node:crypto").hash("sha256", text);
}
