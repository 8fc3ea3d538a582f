/** One run at a time: whoever comes while it runs shares its outcome. */
export class SingleFlight<T> {
  #running: Promise<T> | undefined;

  get running(): Promise<T> | undefined {
    return this.#running;
  }

  run(start: () => Promise<T>): Promise<T> {
    if (!this.#running) {
      const running = start().finally(() => {
        if (this.#running === running) this.#running = undefined;
      });
      // Whoever gave up waiting does not hear of a failure; that is no unhandled rejection.
      running.catch(() => {});
      this.#running = running;
    }
    return this.#running;
  }
}
