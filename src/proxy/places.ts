// What of a budget is held rather than used up: connections, each from its begin to its end; and hosts, each once. Claims of
// connections are renewed by the minute, so that those of a process that crashed end by themselves.

import { windowOf } from "../policy/budgets.ts";
import type { Budget } from "../policy/types.ts";
import { anewMs, RETRY_MS, type PurseOptions, type Short, shortOf } from "./purse.ts";

/** Ends what holds a place. */
export type Cut = (short: Short) => void;

export class Places {
  readonly #options: PurseOptions;
  readonly #held = new Set<Cut>();
  #budget: Budget;
  #window = 0;

  constructor(budget: Budget, options: PurseOptions) {
    this.#budget = budget;
    this.#options = options;
  }

  follow(budget: Budget): void {
    this.#budget = budget;
  }

  async enter(cut: Cut): Promise<Short | undefined> {
    for (;;) {
      this.renew();
      const window = this.#window;
      const granted = await this.#draw(1);
      if (granted === undefined || granted === 0) return shortOf(this.#budget, granted, RETRY_MS);
      // Claimed for a minute that ended meanwhile: what was held was claimed for the next without it.
      if (window !== this.#window) continue;
      this.#held.add(cut);
      this.#options.onSpent(this.#budget, 1);
      return undefined;
    }
  }

  leave(cut: Cut): void {
    if (this.#held.delete(cut)) void this.#draw(-1);
  }

  /** Claims what is held for this minute; what is not granted was opened by others, and ends here. */
  renew(): void {
    const window = windowOf(this.#budget, this.#options.now());
    if (window === this.#window) return;
    this.#window = window;
    if (this.#held.size > 0) void this.#claim([...this.#held]);
  }

  async #claim(held: readonly Cut[]): Promise<void> {
    // Where nobody can tell, what is open goes on until somebody can.
    const granted = (await this.#draw(held.length)) ?? held.length;
    for (const cut of held.slice(granted))
      if (this.#held.delete(cut)) cut(shortOf(this.#budget, 0, RETRY_MS));
  }

  #draw(amount: number): Promise<number | undefined> {
    const { bank, owner } = this.#options;
    return bank.draw({ owner, budget: this.#budget, window: this.#window, amount });
  }

  /** Whether nobody holds any. */
  settle(): boolean {
    this.renew();
    return this.#held.size === 0;
  }
}

export class HostPlaces {
  readonly #options: PurseOptions;
  readonly #known = new Set<string>();
  #budget: Budget;
  #window = 0;
  #day = 0;
  #usedAt = 0;

  constructor(budget: Budget, options: PurseOptions) {
    this.#budget = budget;
    this.#options = options;
  }

  follow(budget: Budget): void {
    this.#budget = budget;
  }

  async enter(host: string): Promise<Short | undefined> {
    this.#turn();
    this.#usedAt = this.#options.now();
    if (this.#known.has(host)) return undefined;
    const { bank, owner, now } = this.#options;
    const budget = this.#budget;
    const window = this.#window;
    const granted = await bank.draw({ owner, budget, window, amount: 1, host });
    if (granted !== 1) return shortOf(budget, granted, anewMs(budget, window, now()));
    if (window === this.#window) this.#known.add(host);
    this.#options.onSpent(budget, 1);
    return undefined;
  }

  /** What is known is asked for again by the day: the store forgets what nobody asks for. */
  #turn(): void {
    const at = this.#options.now();
    const window = windowOf(this.#budget, at);
    const day = Math.floor(at / DAY_MS);
    if (window === this.#window && day === this.#day) return;
    this.#window = window;
    this.#day = day;
    this.#known.clear();
  }

  settle(): boolean {
    return this.#options.now() > this.#usedAt + IDLE_MS;
  }
}

const IDLE_MS = 600_000;
const DAY_MS = 86_400_000;
