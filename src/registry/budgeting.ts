// What the data path draws from budgets. Values only: they cross from workers to the primary.

import type { Owner } from "../policy/budgets.ts";
import type { Budget } from "../policy/types.ts";

export type BudgetDraw = {
  readonly owner: Owner;
  readonly budget: Budget;
  /** Start of the window that it is drawn in. */
  readonly window: number;
  /** Negative: given back. */
  readonly amount: number;
  /** Of `hosts`: which one is to be counted, if it is not yet. */
  readonly host?: string | undefined;
};

/** Of the registry, as the data path is handed it. */
export type Bank = {
  /** How much of it was to be had; `undefined`: nobody can tell now. Never rejects. */
  readonly draw: (draw: BudgetDraw) => Promise<number | undefined>;
};
