/** Writes a line for the user. stdout may be a protocol's. */
export function printToStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}
