/**
 * A process that keeps one Vitest for a whole campaign: it is told which tests to run, and says which one failed first.
 * It can be ended when a mutant never stops.
 */
import { createVitest } from "vitest/node";

/** Tests of one file, by their full names. */
export interface Selection {
  file: string;
  /** All of them when missing. */
  tests?: readonly string[] | undefined;
}

export interface Outcome {
  /** Tests that failed; the file's name when it could not be loaded or something failed outside of tests. */
  failed: string[];
  message: string | undefined;
  isTimeout: boolean;
}

const [record] = process.argv.slice(2);
const vitest = await createVitest("test", {
  watch: false,
  maxWorkers: 1,
  setupFiles: ["test/setup.ts", ...(record ? ["test/mutation/record.ts"] : [])],
  // Tests that take seconds are not chosen: one that takes longer waits for something that the mutant has taken away.
  ...(record ? {} : { testTimeout: 10_000, bail: 1 }),
  reporters: [{}],
});
await vitest.standalone();

process.on("message", async (selection: Selection) => process.send?.(await run(selection)));
process.on("disconnect", () => process.exit());
process.send?.("ready");

async function run({ file, tests }: Selection): Promise<Outcome> {
  const project = vitest.getRootProject();
  const specification = project.createSpecification(`${process.cwd()}/${file}`, tests ? { testNames: [...tests] } : undefined);
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications([specification]);
  const module = testModules.find(({ moduleId }) => moduleId === specification.moduleId);
  const failed = [...(module?.children.allTests("failed") ?? [])];
  if (failed.length > 0) {
    const message = failed[0]?.result().errors?.[0]?.message;
    return { failed: failed.map(({ fullName }) => fullName), message, isTimeout: /timed out/i.test(message ?? "") };
  }
  const error = [...(module?.errors() ?? []), ...(unhandledErrors as Error[])][0];
  const isMissing = module?.state() === "failed" || module === undefined;
  return { failed: error || isMissing ? [file] : [], message: error?.message, isTimeout: false };
}
