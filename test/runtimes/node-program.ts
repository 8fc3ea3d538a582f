/**
 * A user's program with the Node entry: the login through a listener on loopback, kept in the default store. Prints how it went.
 * Whoever runs it plays the user: see `stage.ts`.
 */
import { createMcpAuth } from "mcp-client-auth/node";
import { toolRequest } from "../fixture/tool-request.ts";
import type { Setting } from "./report.ts";

export async function run({ serverUrl, control }: Setting): Promise<void> {
  let windows = 0;
  let kept = "";
  const auth = createMcpAuth(serverUrl, {
    app: "acme",
    interactive: true,
    print: () => {},
    openBrowser: async (url) => {
      windows++;
      await fetch(`${control}/browser`, { method: "POST", body: String(url) });
    },
    onEvent: (event) => {
      if (event.type === "store.opened") kept = `${event.kind}, key in a ${event.key}`;
    },
  });
  await auth.authorize();
  const statuses = await Promise.all(
    Array.from({ length: 50 }, async () => (await auth.fetch(auth.serverUrl, toolRequest("whoami"))).status),
  );
  await auth.dispose();
  console.log(JSON.stringify({ windows, statuses: [...new Set(statuses)], kept }));
}
