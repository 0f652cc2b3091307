// Why a verdict is what it is: every step that `decide` or `admit` took, told by them, and what would turn a denial.
// Nothing is judged here.

import { admit, type Admission } from "./admit.ts";
import type { Snapshot } from "./compile.ts";
import { decide } from "./decide.ts";
import { flipOf, type Flip } from "./flip.ts";
import type { Denial, Facts, Verdict } from "./types.ts";
import type { Step } from "./verdict.ts";

export type Explanation = {
  readonly verdict: Verdict | Admission;
  readonly steps: readonly Step[];
  /** Where it is denied, or would be: what turns it. */
  readonly flip: Flip | undefined;
};

export function explain(snapshot: Snapshot, facts: Facts): Explanation {
  const steps: Step[] = [];
  const trace = (step: Step): void => void steps.push(step);
  const verdict = facts.stage === "address" ? admit(snapshot, facts, trace) : decide(snapshot, facts, trace);
  const denial = denialIn(verdict);
  return {
    verdict,
    steps,
    flip: denial && flipOf(snapshot, facts, denial),
  };
}

function denialIn(verdict: Verdict | Admission): Denial | undefined {
  if (verdict.action !== "allow") return verdict;
  return "wouldDeny" in verdict ? verdict.wouldDeny : undefined;
}
