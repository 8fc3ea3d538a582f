import { systemClock } from "../clock.ts";

/** How long the end of the process may be put off, in milliseconds. */
const limitMs = 10_000;

/** Ctrl-C reaches a program from the terminal and again from `npm run`: so close together they are one. In milliseconds. */
const sameKeyMs = 200;

/** How long the listeners outlive the work, in milliseconds. */
const lingerMs = 1000;

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Signal = (typeof signals)[number];

const pending = new Set<Promise<unknown>>();
let ending = false;
let watching = false;
let listening = false;
let raisedAt: number | undefined;
const died = new AbortController();

/**
 * Keeps SIGINT, SIGTERM and SIGHUP from ending the process before `work` has settled, for at most 10 s: a refresh that is
 * answered after the process has gone leaves a rotated token that nobody has.
 *
 * Afterwards the signal does what it would have done. A second Ctrl-C ends at once. An app that listens to a signal itself
 * decides alone when to end; nothing is put off then. Listeners are installed
 * with the first work and leave a second after the last.
 */
export function waitUntil(work: Promise<unknown>): void {
  if (!listening) for (const signal of signals) process.on(signal, onSignal);
  listening = true;
  pending.add(work);
  const done = () => {
    pending.delete(work);
    // A signal that arrives together with the response is reported a little later, and would be lost without its listener.
    if (pending.size === 0) setTimeout(stopWhenIdle, lingerMs).unref();
  };
  work.then(done, done);
}

/** Whether the process is about to end, as far as is known: nothing new should be begun that nobody waits for. */
export function isEnding(): boolean {
  if (!watching) {
    watching = true;
    process.on("exit", () => {
      ending = true;
    });
    process.on("beforeExit", () => {
      ending = true;
      // Others may give the process new work: if it lives on, this runs; it does not keep it alive by itself. Not `setImmediate`,
      // which does in Bun.
      setTimeout(() => {
        ending = raisedAt !== undefined;
      }).unref();
    });
  }
  return ending;
}

function onSignal(signal: Signal): void {
  if (appListens(signal)) {
    // SIGTERM is final in practice; an app that catches the others may go on for days.
    ending ||= signal === "SIGTERM";
    return;
  }
  ending = true;
  if (raisedAt === undefined) {
    raisedAt = performance.now();
    systemClock.sleep(limitMs, { signal: died.signal, limit: true }).then(
      () => die(signal),
      () => {},
    );
    void finish(signal);
  } else if (signal === "SIGINT" && performance.now() - raisedAt > sameKeyMs) {
    die(signal);
  }
}

/** Listeners of `signal-exit`, which many terminal libraries bring along, only tidy up: they wait for others to end the process. */
function appListens(signal: Signal): boolean {
  const counts = [Reflect.get(globalThis, Symbol.for("signal-exit emitter")), Reflect.get(process, "__signal_exit_emitter__")];
  const tidying = counts.reduce((sum: number, emitter: { count?: number } | undefined) => sum + (emitter?.count ?? 0), 0);
  return process.listenerCount(signal) - 1 - tidying > 0;
}

async function finish(signal: Signal): Promise<void> {
  while (pending.size > 0) await Promise.allSettled(pending);
  die(signal);
}

/** The signal's own action, so that the exit status says what happened. */
function die(signal: Signal): void {
  died.abort();
  stopListening();
  process.kill(process.pid, signal);
}

function stopWhenIdle(): void {
  if (pending.size === 0) stopListening();
}

function stopListening(): void {
  listening = false;
  for (const signal of signals) process.off(signal, onSignal);
}
