/**
 * Where records and locks are in Redis: `PREFIX{NAME}record`, `PREFIX{NAME}lock`.
 *
 * What is in braces decides the slot in a cluster. A lock is in the slot of the record that it is for: `tokens/a` is guarded by
 * the lock of that name, or by `refresh/tokens/a`.
 */
export class Names {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  record(key: string): string {
    return this.#in(key, "record");
  }

  lock(key: string): string {
    const guarded = guardedBy(key);
    return this.#in(guarded, guarded === key ? "lock" : "refresh-lock");
  }

  /** Which holder of a lock has written a record that is in another slot. */
  mark(key: string, lock: string): string {
    return this.#in(key, `fence/${lock}`);
  }

  /** A pattern of SCAN for records whose keys begin so. */
  pattern(start: string): string {
    return `${glob(this.#prefix)}{${glob(escaped(start))}*}record`;
  }

  /** The key of a record that {@link pattern} has found. */
  keyOf(name: string): string {
    return decodeURIComponent(name.slice(this.#prefix.length + "{".length, -"}record".length));
  }

  #in(name: string, part: string): string {
    return `${this.#prefix}{${escaped(name)}}${part}`;
  }
}

/** The record that a lock is for. */
export function guardedBy(lock: string): string {
  return lock.replace(/^refresh\//, "");
}

/** Braces would end the part that decides the slot. */
function escaped(name: string): string {
  return name.replace(/[%{}]/g, encodeURIComponent);
}

function glob(text: string): string {
  return text.replace(/[\\*?[\]^]/g, "\\$&");
}
