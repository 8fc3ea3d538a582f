/** Set-up file of the run that records which mutants each test reaches. */
import { relative } from "node:path";
import { afterEach, beforeEach, type RunnerTask } from "vitest";

let began = 0;
beforeEach(({ task }) => {
  const name = nameOf(task);
  process.env.MUTATION_TEST = JSON.stringify(name);
  flush(name[0], undefined, 0);
  began = performance.now();
});

afterEach(({ task }) => flush(...nameOf(task), Math.round(performance.now() - began)));

function nameOf(task: RunnerTask): [file: string, test: string] {
  return [relative(process.cwd(), task.file.filepath), task.fullTestName ?? task.name];
}

function flush(file: string, test: string | undefined, ms: number): void {
  // Not there yet: no instrumented file was loaded.
  const { __mutation } = globalThis as { __mutation?: { flush: typeof flush } };
  __mutation?.flush(file, test, ms);
}
