/** A length of time that has begun. */
export interface Lease {
  readonly isOver: boolean;
}

/**
 * Begins now, on clocks that nobody sets: one that is put back makes nothing last longer. Some machines stop their monotonic clock
 * while they sleep, and the other one goes on: whichever says that it is over is believed.
 *
 * @param ms how long it lasts
 */
export function lease(ms: number): Lease {
  const [monotonic, wall] = [performance.now(), Date.now()];
  return {
    get isOver() {
      return performance.now() - monotonic >= ms || Date.now() - wall >= ms;
    },
  };
}
