// What this process has drawn of one budget and not spent yet: spending is a subtraction, and more is drawn ahead of need. It never
// spends what was not granted; what it holds when the process crashes is lost, not overspent.

import { type Owner, windowOf } from "../policy/budgets.ts";
import type { Budget } from "../policy/types.ts";
import type { Bank } from "../registry/budgeting.ts";

/** Why there is no more of a budget. */
export type Short = {
  readonly reason: "budget-spent" | "budget-unavailable";
  readonly budget: Budget;
  /** When it is worth another try, milliseconds from now. */
  readonly retryMs: number;
};

export type PurseOptions = {
  readonly bank: Bank;
  readonly owner: Owner;
  readonly now: () => number;
  readonly onSpent: (budget: Budget, amount: number) => void;
};

export class Purse {
  readonly #options: PurseOptions;
  #budget: Budget;
  #window = 0;
  #left = 0;
  #drawing: Promise<void> | undefined;
  /** Until then nobody is asked again. */
  #emptyUntil = 0;
  /** What the last draw brought that brought nothing. */
  #granted: number | undefined = 0;
  #usedAt = 0;

  constructor(budget: Budget, options: PurseOptions) {
    this.#budget = budget;
    this.#options = options;
  }

  /** Its limit, as the policy has it now. */
  follow(budget: Budget): void {
    if (budget.limit !== this.#budget.limit) this.#emptyUntil = 0;
    this.#budget = budget;
  }

  get left(): number {
    const window = windowOf(this.#budget, this.#options.now());
    if (window !== this.#window) {
      this.#window = window;
      this.#left = 0;
      this.#emptyUntil = 0;
    }
    return this.#left;
  }

  /** At most what is left. */
  spend(amount: number): void {
    this.#left -= amount;
    this.#usedAt = this.#options.now();
    this.#options.onSpent(this.#budget, amount);
    const chunk = chunkOf(this.#budget.limit);
    if (chunk > 1 && this.#left < chunk / 2 && this.#usedAt >= this.#emptyUntil)
      void this.#draw(chunk - this.#left);
  }

  /** Resolves once so much is left, or with why it is not to be had. */
  async need(amount: number): Promise<Short | undefined> {
    while (this.left < amount) {
      const now = this.#options.now();
      if (now < this.#emptyUntil)
        return shortOf(this.#budget, this.#granted, anewMs(this.#budget, this.#window, now));
      await this.#draw(Math.max(chunkOf(this.#budget.limit), amount - this.#left));
    }
    return undefined;
  }

  /** One draw at a time; whoever needs more than it brings draws again. */
  #draw(amount: number): Promise<void> {
    return (this.#drawing ??= this.#ask(amount).finally(() => (this.#drawing = undefined)));
  }

  async #ask(amount: number): Promise<void> {
    const { bank, owner, now } = this.#options;
    const window = this.#window;
    const granted = await bank.draw({ owner, budget: this.#budget, window, amount });
    // What was drawn in a window that is over is worth nothing in the next one.
    if (window !== this.#window) return;
    this.#left += granted ?? 0;
    if (granted !== undefined && granted > 0) return;
    this.#granted = granted;
    this.#emptyUntil = now() + RETRY_MS;
  }

  /** Gives back what has not been wanted for a while; whether nothing is left in it. */
  settle(): boolean {
    if (this.#drawing !== undefined || this.#options.now() < this.#usedAt + IDLE_MS) return false;
    void this.close();
    return true;
  }

  /** Gives back what is left. */
  async close(): Promise<void> {
    await this.#drawing;
    const { left } = this;
    this.#left = 0;
    const { bank, owner } = this.#options;
    if (left > 0) await bank.draw({ owner, budget: this.#budget, window: this.#window, amount: -left });
  }
}

/** What is drawn at once: a 64th of the budget, at most 1 MiB. */
export function chunkOf(limit: number): number {
  return Math.min(Math.max(1, Math.ceil(limit / 64)), 2 ** 20);
}

/** Of a draw that was not granted; `retryMs`: of a budget that is spent. */
export function shortOf(budget: Budget, granted: number | undefined, retryMs: number): Short {
  return granted === undefined
    ? { reason: "budget-unavailable", budget, retryMs: RETRY_MS }
    : { reason: "budget-spent", budget, retryMs };
}

/** From now to the end of its window. */
export function anewMs({ perMs }: Budget, window: number, now: number): number {
  return perMs === 0 ? LASTING_MS : window + perMs - now;
}

/** How long a budget that was found spent, or could not be asked for, is not asked for again. */
export const RETRY_MS = 1_000;
/** Where nothing but an operator makes it more. */
const LASTING_MS = 3_600_000;
const IDLE_MS = 5_000;
