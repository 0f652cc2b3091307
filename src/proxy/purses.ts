// The budgets that this process draws on: one purse for each counter, kept as long as anything under way may need it.

import { counterOf, type Owner } from "../policy/budgets.ts";
import type { Budget, BudgetName } from "../policy/types.ts";
import type { Bank } from "../registry/budgeting.ts";
import { HostPlaces, Places } from "./places.ts";
import { Purse, type PurseOptions } from "./purse.ts";

export type PursesOptions = {
  readonly bank: Bank;
  readonly now: () => number;
  readonly onSpent: (budget: BudgetName, amount: number) => void;
};

type Kept = { readonly it: Purse | Places | HostPlaces; users: number };
/** A counter that is in use until `release`. */
export type Used<It> = { readonly it: It; readonly key: string };

export class Purses {
  readonly #options: PursesOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #settling: NodeJS.Timeout;

  constructor(options: PursesOptions) {
    this.#options = options;
    this.#settling = setInterval(() => this.#settle(), SETTLE_MS).unref();
  }

  purse(owner: Owner, budget: Budget): Used<Purse> {
    return this.#use(owner, budget, Purse);
  }

  places(owner: Owner, budget: Budget): Used<Places> {
    return this.#use(owner, budget, Places);
  }

  hosts(owner: Owner, budget: Budget): Used<HostPlaces> {
    return this.#use(owner, budget, HostPlaces);
  }

  #use<It extends Kept["it"]>(
    owner: Owner,
    budget: Budget,
    Made: new (budget: Budget, options: PurseOptions) => It,
  ): Used<It> {
    const key = counterOf(owner, budget);
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      const { bank, now, onSpent } = this.#options;
      const options = { bank, now, owner, onSpent: (of: Budget, amount: number) => onSpent(of.name, amount) };
      this.#kept.set(key, (kept = { it: new Made(budget, options), users: 0 }));
    }
    kept.it.follow(budget);
    kept.users++;
    if (!(kept.it instanceof Made)) throw new TypeError(`${key} is counted in two ways`);
    return { it: kept.it, key };
  }

  release({ key }: Used<unknown>): void {
    const kept = this.#kept.get(key);
    if (kept !== undefined) kept.users--;
  }

  #settle(): void {
    for (const [key, { it, users }] of this.#kept) if (it.settle() && users === 0) this.#kept.delete(key);
  }

  /** Nothing is under way any more: what is left goes back. */
  async close(): Promise<void> {
    clearInterval(this.#settling);
    const purses = [...this.#kept.values()].map(({ it }) => it).filter((it) => it instanceof Purse);
    await Promise.all(purses.map((purse) => purse.close()));
  }
}

const SETTLE_MS = 1_000;
