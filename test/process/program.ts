/** A program that uses a protected server and ends, played by `process-end.test.ts`. Lines on stdout tell what happens. */
import { once } from "node:events";
import { createMcpAuth } from "../../src/node/index.ts";
import { isEnding } from "../../src/node/process-end.ts";
import { FileStore } from "./file-store.ts";

const { SERVER_URL = "", STORE = "", MODE = "" } = process.env;
const say = (line: string) => void process.stdout.write(`${line}\n`);

let shift = 0;
const auth = createMcpAuth(SERVER_URL, {
  store: new FileStore(STORE),
  interactive: false,
  onEvent: ({ type }) => say(type),
  clock: {
    now: () => Date.now() + shift,
    sleep: (ms, { background = false } = {}) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        if (background) timer.unref();
      }),
  },
});

async function call(): Promise<void> {
  const response = await auth.fetch(SERVER_URL, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  await response.body?.cancel();
  say(`authorised ${response.status !== 401}`);
}

/** The test says when to go on: the server has the refresh by then. */
async function told(): Promise<void> {
  process.stdin.ref();
  await once(process.stdin, "data");
  process.stdin.destroy();
}

switch (MODE) {
  case "ends":
    await call();
    break;
  case "disposes":
    await call();
    await told();
    say("disposing");
    await auth.dispose();
    process.exit(0);
    break;
  case "exits":
    await call();
    await told();
    process.exit(0);
    break;
  case "waits-for-signal": {
    setInterval(() => {}, 60_000);
    const watch = setInterval(() => {
      if (!isEnding()) return;
      say("ending");
      clearInterval(watch);
    }, 5);
    await call();
    break;
  }
  case "calls-before-exit":
    await call();
    process.once("beforeExit", () => {
      // More than half of the token's life is over: otherwise the moment to refresh ahead.
      shift = 200_000;
      void call().then(() => say("called before the exit"));
    });
    break;
  case "needs-token-before-exit":
    await call();
    process.once("beforeExit", () => {
      shift = 400_000;
      void call().then(() => say("called before the exit"));
    });
    break;
}
say("end of program");
