import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "node",
    include: ["test/**/*.test.ts"],
    // Tests start servers and processes and count what these do: every file has a process of its own.
    pool: "forks",
    // More than cores: many tests wait for processes and clocks.
    maxWorkers: 3,
    setupFiles: ["test/setup.ts"],
    // For what hangs. A test that takes 5 s on a quiet machine takes 30 on one that is busy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 45_000, interval: 10 } },
    restoreMocks: true,
    unstubEnvs: true,
    unstubGlobals: true,
    typecheck: { include: ["test/types/**/*.test-d.ts"], tsconfig: "test/types/tsconfig.json" },
  },
});
