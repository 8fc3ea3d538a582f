/** The Node entry where Node's modules are: its listener on loopback, and the SQLite store that two processes share. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bundle } from "./bundle.ts";
import { commandLines, runFile } from "./runtimes.ts";
import { startStage } from "./stage.ts";

describe.each(commandLines)("$name", (runtime) => {
  const { isHere, name } = runtime;

  test.runIf(isHere || process.env.CI)(
    isHere ? "the first process logs in, the next one finds the login, and refreshes it once" : `${name} is not installed here`,
    async () => {
      await using stage = await startStage();
      const { authorizationServer: as, mcpServer: mcp } = stage.server;
      const folder = await mkdtemp(join(tmpdir(), "mcp-client-auth-runtime-"));
      const code = await bundle(`import { run } from "./node-program.ts"; await run(${JSON.stringify(stage.setting)});`, "node");
      const start = async () => JSON.parse(await runFile(runtime, code, { MCP_AUTH_DATA_DIR: folder, MCP_AUTH_KEYCHAIN: "off" }));

      const kept = "sqlite, key in a file";
      expect(await start()).toEqual({ windows: 1, statuses: [200], kept });
      mcp.revokeAll();
      expect(await start()).toEqual({ windows: 0, statuses: [200], kept });
      expect(as.tokenRequests().map(({ grantType }) => grantType)).toEqual(["authorization_code", "refresh_token"]);
      await rm(folder, { recursive: true });
    },
  );
});
