// Waits that the log is made of: the end of a turn of the event loop, work with a bound, and a watch over what takes too long.

/**
 * Resolves at the end of the first turn of the event loop that brought nothing more, or of the one that made it enough, or in which
 * `ms` had passed. Nobody waits longer where there is little to do, since an idle loop turns at once; where there is much, a write is
 * shared by more.
 */
export function lull(gathered: () => number, { enough = 64, ms = 3 } = {}): Promise<void> {
  const until = performance.now() + ms;
  let before = 0;
  return new Promise((resolve) => {
    const look = (): void => {
      const now = gathered();
      if (now === before || now >= enough || performance.now() >= until) return resolve();
      before = now;
      setImmediate(look);
    };
    setImmediate(look);
  });
}

export function withinMs(ms: number, work: Promise<true>): Promise<unknown> {
  const bound = Promise.withResolvers<unknown>();
  const timer = setTimeout(() => bound.resolve(new Error(`not closed within ${ms} ms`)), ms);
  work.then(bound.resolve, bound.resolve);
  return bound.promise.finally(() => clearTimeout(timer));
}

/** Tells of work that takes too long, once. One timer over many pieces of work: each sets the time, and none sets a timer. */
export class Watchdog {
  readonly #ms: number;
  readonly #late: () => void;
  #timer: NodeJS.Timeout | undefined;
  /** When the work began, by performance.now(); 0: there is none. */
  #since = 0;

  constructor(ms: number, late: () => void) {
    this.#ms = ms;
    this.#late = late;
  }

  begin(): void {
    this.#since = performance.now();
    if (this.#timer === undefined) this.#timer = setTimeout(this.#look, this.#ms).unref();
  }

  end(): void {
    this.#since = 0;
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#since === 0) return;
    const left = this.#ms - (performance.now() - this.#since);
    if (left <= 0) this.#late();
    else this.#timer = setTimeout(this.#look, Math.ceil(left)).unref();
  };
}
