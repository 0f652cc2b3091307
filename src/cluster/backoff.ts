// How long until a worker that ended is replaced, and when nothing can be kept up. Pure: who restarts what is workers.ts.

/** Ends that follow one another without a worker in between that lived for long. */
export class Backoff {
  readonly #workers: number;
  #ends = 0;

  constructor(workers: number) {
    this.#workers = workers;
  }

  /** Milliseconds to wait before the one that lived for `livedMs` is replaced. */
  ended(livedMs: number): number {
    if (livedMs >= STABLE_MS) this.#ends = 0;
    this.#ends++;
    // Each may end once, such as by one cause that met them all, and is replaced at once.
    const repeated = this.#ends - this.#workers;
    return repeated <= 0 ? 0 : Math.min(FIRST_MS * 2 ** (repeated - 1), LONGEST_MS);
  }

  /** With none running, one more attempt would end like those before. */
  get hopeless(): boolean {
    return this.#ends >= this.#workers + ATTEMPTS;
  }
}

const STABLE_MS = 10_000;
const FIRST_MS = 100;
const LONGEST_MS = 30_000;
const ATTEMPTS = 6;
