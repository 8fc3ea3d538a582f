import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { type Clock, systemClock } from "../../src/clock.ts";

/** What a process sees of its machine. */
export interface Machine {
  readonly clock: Clock;
  /** Milliseconds on a clock that nobody sets. */
  monotonic(): number;
}

/** The machine of the process whose code runs. */
const current = new AsyncLocalStorage<Machine>();

/** A poll comes so much later than it was meant to, as on a machine that is busy: it takes fewer steps. */
const pollsLater = 20;
/** The longest pause between two polls, in ms. */
const longestPollMs = 150;

const { subtle } = globalThis.crypto;
/** The key of all processes. What encryption is worth is no subject here: values are as long as encrypted ones, and readable. */
const aesKey = await subtle.importKey("raw", new Uint8Array(32), "AES-GCM", false, ["encrypt", "decrypt"]);
const tagLength = 16;

/** Runs code of a process: what it asks the system's clocks is answered by its machine's. */
export function runOn<T>(machine: Machine, work: () => T): T {
  return current.run(machine, work);
}

/** Runs `work` with chance, the system's clocks and native work under control, so that a seed decides everything. */
export async function controlled<T>(seed: number, work: () => Promise<T>): Promise<T> {
  const { now, performanceNow, sleep } = real;
  const undo = [
    replace(Math, "random", generator(seed)),
    replace(Date, "now", () => current.getStore()?.clock.now() ?? now()),
    replace(performance, "now", () => current.getStore()?.monotonic() ?? performanceNow()),
    replace(systemClock, "now", () => Date.now()),
    replace(systemClock, "sleep", (ms, options) => {
      const isPoll = ms <= longestPollMs && !options?.background && !options?.limit;
      return (current.getStore()?.clock.sleep ?? sleep)(isPoll ? ms * pollsLater : ms, options);
    }),
    replace(subtle, "digest", async (_algorithm, data) => copy(createHash("sha256").update(view(data)).digest())),
    replace(subtle, "importKey", (async () => aesKey) as unknown as SubtleCrypto["importKey"]),
    replace(subtle, "encrypt", async (_algorithm, _key, data) => copy(view(data), tagLength)),
    replace(subtle, "decrypt", async (_algorithm, _key, data) => copy(view(data).subarray(0, -tagLength))),
  ];
  try {
    return await work();
  } finally {
    for (const back of undo) back();
  }
}

const real = { now: Date.now, performanceNow: performance.now.bind(performance), sleep: systemClock.sleep };

/** @returns what undoes it */
function replace<T extends object, K extends keyof T>(object: T, name: K, value: T[K]): () => void {
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
  return () => {
    if (before) Object.defineProperty(object, name, before);
    else Reflect.deleteProperty(object, name);
  };
}

function view(data: BufferSource): Uint8Array {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

function copy(bytes: Uint8Array, more = 0): ArrayBuffer {
  const copied = new Uint8Array(bytes.length + more);
  copied.set(bytes);
  return copied.buffer;
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
