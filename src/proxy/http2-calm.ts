// How much of what costs its sender nothing an HTTP/2 connection may ask of us: so many at once, and so many a second after that.

export class Allowance {
  readonly #burst: number;
  readonly #perMs: number;
  #left: number;
  #at = performance.now();

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#left = burst;
  }

  /** False: it is spent. */
  spend(cost = 1): boolean {
    this.#left -= cost;
    if (this.#left >= 0) return true;
    const now = performance.now();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#perMs);
    this.#at = now;
    return this.#left >= 0;
  }

  /** What carries something earns what usually goes with it. */
  earn(amount = 1): void {
    this.#left = Math.min(this.#burst, this.#left + amount);
  }
}

/**
 * Frames that carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, what is unknown, and what concerns streams that are
 * over. Clients send a few for each frame of data.
 */
export const IDLE_FRAMES = { burst: 2_000, perSecond: 200 } as const;

/** Streams that the sandbox opens and resets before they were answered (CVE-2023-44487): each costs a record, and a dial. */
export const ABANDONED_STREAMS = { burst: 200, perSecond: 20 } as const;

/** Streams that are refused for what they are: malformed, or one too many. */
export const REFUSED_STREAMS = { burst: 100, perSecond: 10 } as const;
