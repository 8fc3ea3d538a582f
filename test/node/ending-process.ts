/** A program with work that must not be lost, played by `process-end.test.ts`. Lines on stdout tell what happens. */
import { isEnding, waitUntil } from "../../src/node/process-end.ts";

const [mode = "", detail] = process.argv.slice(2);
const say = (line: string) => void process.stdout.write(`${line}\n`);
/** Ends when the test writes a line. */
const work = () =>
  new Promise<void>((resolve) => {
    process.stdin.once("data", () => resolve());
  });

/** Keeps the process alive, as a server would. */
const alive = setInterval(() => {}, 60_000);

if (mode === "idle") {
  waitUntil(Promise.resolve());
  await null;
} else if (mode === "app-listens") {
  process.on("SIGTERM", () => {
    say(`app saw SIGTERM, ending ${isEnding()}`);
    process.exit(7);
  });
  waitUntil(work());
} else if (mode === "two-keys") {
  let now = 1000;
  performance.now = () => now;
  const press = () => process.emit("SIGINT", "SIGINT");
  const pressed = work().then(() => {
    press();
    now += Number(detail);
    press();
    say("pressed");
  });
  waitUntil(pressed.then(work).then(() => say("finished")));
} else if (mode === "many") {
  process.on("warning", ({ name }) => say(name));
  const one = work();
  for (let count = 0; count < 1000; count++) waitUntil(one.then(() => {}));
  void one.then(() => say(`listeners ${process.listenerCount("SIGTERM")}`));
} else if (mode === "signal-exit") {
  const { onExit } = await import("signal-exit");
  onExit(() => say("tidied up"));
  waitUntil(work().then(() => say("finished")));
} else if (mode === "ending") {
  say(`ending ${isEnding()}`);
  process.once("beforeExit", () => {
    say(`beforeExit ${isEnding()}`);
    // Later than one turn of the event loop, however slow the machine is.
    setTimeout(() => say(`alive again ${isEnding()}`), 50);
  });
  process.on("exit", () => say(`exit ${isEnding()}`));
  clearInterval(alive);
  process.stdin.unref();
} else {
  const watch = setInterval(() => {
    if (!isEnding()) return;
    say("ending");
    clearInterval(watch);
  }, 5);
  const done = work().then(() => say("finished"));
  if (mode === "more") {
    waitUntil(done.then(() => waitUntil(new Promise<void>((resolve) => setTimeout(resolve, 5)).then(() => say("finished more")))));
  } else if (mode === "rejects") {
    waitUntil(done.then(() => Promise.reject(new Error("the work's own affair"))));
  } else {
    waitUntil(done);
  }
}
say("ready");
