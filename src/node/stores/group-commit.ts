import { systemClock } from "../../clock.ts";
import { codeOf } from "../../errors.ts";
import { eventLoop } from "./portions.ts";

/** A transaction of so many writes takes a few milliseconds beside its synchronisations. */
const largest = 128;
/** Larger groups show that many write at the same time. */
const few = 8;
/** After a group of many the next one is awaited for so many times as long as it took, and this long at most, in ms. */
const gathering = { times: 3, longestMs: 50 };

interface Asked<W> {
  readonly prepared: Promise<W>;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes that are asked for at the same time, or while others are under way, share a transaction: nearly all that a write
 * takes is the disk's synchronisation. They are done in the order in which they were asked for.
 */
export class GroupCommit<W> {
  readonly #commit: (works: readonly W[]) => Promise<readonly unknown[]>;
  readonly #asked: Asked<W>[] = [];
  #isRunning = false;

  /** @param commit does all in one transaction, durably, or nothing; one result for each */
  constructor(commit: (works: readonly W[]) => Promise<readonly unknown[]>) {
    this.#commit = commit;
  }

  /**
   * Resolves when it is durable.
   *
   * @param prepare what can be done before, and beside what others do
   * @throws what `prepare` throws; what `commit` throws for this one alone
   */
  add<T>(prepare: () => Promise<W>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const prepared = prepare();
    // It may fail before its group is looked at.
    prepared.catch(() => {});
    this.#asked.push({ prepared, resolve, reject });
    if (!this.#isRunning) void this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#asked.length > 0) {
      await eventLoop();
      const group = this.#asked.splice(0, largest);
      const began = process.uptime();
      await this.#finish(group);
      if (group.length > few) await this.#gather((process.uptime() - began) * 1000);
    }
    this.#isRunning = false;
  }

  /** The disk blocks the event loop: where many write, it gets its part of the time, and their answers the rest. */
  async #gather(tookMs: number): Promise<void> {
    const until = process.uptime() + Math.min(tookMs * gathering.times, gathering.longestMs) / 1000;
    while (this.#asked.length < largest && process.uptime() < until) await systemClock.sleep(2);
  }

  async #finish(group: readonly Asked<W>[]): Promise<void> {
    const ready: { asked: Asked<W>; work: W }[] = [];
    const prepared = await Promise.allSettled(group.map(({ prepared }) => prepared));
    for (const [i, asked] of group.entries()) {
      const outcome = prepared[i];
      if (outcome?.status === "fulfilled") ready.push({ asked, work: outcome.value });
      else asked.reject(outcome?.reason);
    }
    if (ready.length === 0) return;
    const waiting = this.#asked.length;
    try {
      const results = await this.#commit(ready.map(({ work }) => work));
      for (const [i, { asked }] of ready.entries()) asked.resolve(results[i] as never);
    } catch (error) {
      if (codeOf(error) === "lock_timeout") {
        // Whoever was waiting then has waited as long.
        for (const { reject } of [...ready.map(({ asked }) => asked), ...this.#asked.splice(0, waiting)]) reject(error);
        return;
      }
      // What has happened to the database is reported once; and one alone has been tried alone.
      if (ready.length === 1 || codeOf(error) === "store_damaged") ready.shift()?.asked.reject(error);
      for (const { asked, work } of ready) await this.#alone(asked, work);
    }
  }

  /** What fails with others may succeed without them. */
  async #alone({ resolve, reject }: Asked<W>, work: W): Promise<void> {
    await eventLoop();
    try {
      resolve((await this.#commit([work]))[0] as never);
    } catch (error) {
      reject(error);
    }
  }
}
