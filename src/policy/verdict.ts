// How verdicts are made, and the steps that lead to them told.

import type { RuleKind } from "./compile.ts";
import type { Denial, Deny, Policy, RuleRef, Standing } from "./types.ts";

/** One thing that was looked at on the way to a verdict. */
export type Step = {
  readonly name:
    | "lockdown"
    | "requirement"
    | "policy"
    | "server-name"
    | RuleKind
    | "grant"
    | "address"
    | "default"
    | "ask"
    | "report-only"
    | "secret";
  readonly outcome: "allow" | "deny" | "ask" | "continue";
  readonly rule: RuleRef | undefined;
  readonly because: string;
};

/** Is told every step, in order. Deciding is the same with and without it. */
export type Trace = (step: Step) => void;

export function refuse(policy: Policy, { reason, rule }: Denial): Deny {
  return { action: "deny", reason, rule, shown: policy.showRule ? rule?.reason : undefined };
}

/** Before anything else is asked, the policy included: a lockdown leaves nothing to decide, and nothing lifts it here. */
export function lockedDown(
  policy: Policy | undefined,
  standing: Standing | undefined,
  trace: Trace | undefined,
): Deny | undefined {
  const rule = standing?.lockdown;
  if (rule === undefined) return undefined;
  trace?.({ name: "lockdown", outcome: "deny", rule, because: "by an operator's order nothing may leave" });
  const shown = policy?.showRule === true ? rule.reason : undefined;
  return { action: "deny", reason: "lockdown", rule, shown };
}

/** Absence denies: a sandbox whose policy is gone is in no policy. */
export function unknownPolicy(name: string, trace: Trace | undefined): Deny {
  trace?.({
    name: "policy",
    outcome: "deny",
    rule: undefined,
    because: `there is no policy named \`${name}\``,
  });
  return { action: "deny", reason: "host-not-allowed", rule: undefined, shown: undefined };
}
