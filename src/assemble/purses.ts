// The budgets that one process draws on.

import { Purses } from "../proxy/purses.ts";
import type { Bank } from "../registry/budgeting.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export function pursesOf(bank: Bank, metrics: Metrics): Purses {
  return new Purses({
    bank,
    now: Date.now,
    onSpent: (budget, amount) => metrics.budgetSpent(budget, amount),
  });
}
