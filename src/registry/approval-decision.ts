// Whether an approval may be decided as somebody wants it, and what is written then: the approval, with a grant or a rule beside
// it. An approval lifts a miss for whom it was asked, as they were; never for anybody that came after them.

import type { Write } from "../store/types.ts";
import type { Approval, Asker } from "./approval-document.ts";
import { viewOf } from "./approval-document.ts";
import type { ApprovalsOptions } from "./approval-options.ts";
import { grantFor, ruleFor } from "./approval-reach.ts";
import type { Asking } from "./asking.ts";
import { checkGrant, checkReason } from "./checks.ts";
import { grantWrite } from "./grants.ts";
import { EVERYONE } from "./lockdowns.ts";
import { type Actor, ControlError, type Decision, type NewGrant, type SandboxView } from "./types.ts";

export type Decided = {
  readonly approval: Approval;
  readonly writes: readonly Write[];
  /** Once it is written. */
  readonly finish: () => Promise<void>;
};

export type Judge = {
  /** `undefined`: there is no such sandbox. */
  readonly askerOf: (asking: Asking) => Asker | undefined;
  /** Why nobody can decide it any more; `undefined`: somebody can. */
  readonly moot: (approval: Approval) => string | undefined;
  readonly decided: (
    approval: Approval,
    decision: Decision,
    by: { readonly actor: Actor; readonly awaited: boolean },
  ) => Promise<Decided>;
};

export function judgeBy({ registry, above, always, now }: ApprovalsOptions): Judge {
  const { control, replica } = registry;

  const sandboxOf = ({ sandbox }: Pick<Approval, "sandbox">): SandboxView | undefined =>
    sandbox === undefined ? undefined : control.sandbox(sandbox);

  const moot = (approval: Approval): string | undefined => {
    const { sandbox, born, policy, expires } = approval;
    if (expires <= now()) return "nobody decided it in time";
    if (sandbox === undefined) return undefined;
    const found = sandboxOf(approval);
    if (found?.state !== "active" || found.createdAt !== born) return "its sandbox has ended";
    return found.policies[found.phase] === policy ? undefined : "its sandbox is under another policy now";
  };

  const written = (grant: NewGrant, actor: Actor): Write => {
    checkGrant(grant);
    return grantWrite({ replica, above, now }, actor, grant);
  };

  return {
    moot,

    askerOf({ sandbox }) {
      if (sandbox === undefined) return { born: undefined, labels: {} };
      const found = control.sandbox(sandbox);
      return found?.state === "active" ? { born: found.createdAt, labels: found.labels } : undefined;
    },

    async decided(approval, decision, { actor, awaited }) {
      checkReason(decision.reason);
      const { state } = viewOf(approval, now());
      if (state !== "pending") throw new ControlError("conflict", `it is ${state} already`);
      const told = { decidedBy: actor.name, decidedAt: now(), note: decision.reason };
      const nothing = async (): Promise<void> => {};
      if (decision.action === "deny")
        return { approval: { ...approval, ...told, state: "denied" }, writes: [], finish: nothing };
      const forbidden = above.approval(approval, decision, actor);
      if (forbidden !== undefined) throw new ControlError("above-requirements", forbidden);
      const because = moot(approval);
      if (because !== undefined) throw new ControlError("conflict", because);
      if (replica.get("lockdown", approval.sandbox ?? EVERYONE) ?? replica.get("lockdown", EVERYONE))
        throw new ControlError("conflict", "there is a lockdown: lift it first");
      const { scope } = decision;
      const grant = grantFor(approval, decision, { sandbox: sandboxOf(approval), at: now() });
      const rule = ruleFor(approval, decision);
      const writable = rule && (await always(rule, actor, now()));
      const taken = scope === "once" && awaited ? "held" : undefined;
      return {
        approval: { ...approval, ...told, state: "allowed", scope, taken },
        writes: grant === undefined ? [] : [written(grant, actor)],
        finish: () => writable?.write() ?? nothing(),
      };
    },
  };
}
