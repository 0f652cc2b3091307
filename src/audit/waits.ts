// Waits that the log is made of: the end of a turn of the event loop, work with a bound, and a watch over what takes too long.

export function turnsEnd(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
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
