// Approvals for parts that are made by hand: nobody is asked.

import type { Approvals } from "../../src/registry/asking.ts";

export const NOBODY_TO_ASK: Approvals = {
  ask: () => Promise.resolve({ outcome: "unasked" }),
  used: () => {},
};
