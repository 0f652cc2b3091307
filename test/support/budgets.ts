// The purses of a proxy whose policies have no budgets.

import { Purses } from "../../src/proxy/purses.ts";

export const NO_BUDGETS = new Purses({
  bank: { draw: () => Promise.reject(new Error("no budget is drawn on here")) },
  now: Date.now,
  onSpent: () => {},
});
