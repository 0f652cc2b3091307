// What approvals are made with: types only.

import type { Above } from "./above.ts";
import type { Noted } from "./action.ts";
import type { AlwaysRule } from "./approval-reach.ts";
import type { Registry } from "./registry.ts";
import type { Actor, ApprovalView } from "./types.ts";

export type ApprovalEvents = {
  /** Put to somebody for the first time. */
  readonly opened: (approval: ApprovalView) => void;
  readonly question: (outcome: "new" | "known" | "unasked") => void;
  readonly decided: (outcome: "once" | "sandbox" | "time" | "always" | "denied" | "expired") => void;
  readonly pending: (pending: number) => void;
};

/** A rule that can be written, and is once it is decided so. */
export type Writable = { readonly write: () => Promise<void> };

export type ApprovalsOptions = {
  readonly registry: Registry;
  readonly noted: Noted;
  readonly above: Above;
  /** Rejects with a `ControlError` where the rule cannot be written into the operator's file. */
  readonly always: (rule: AlwaysRule, by: Actor, at: number) => Promise<Writable>;
  /** How long one stays undecided. */
  readonly pendingMs: () => number;
  /** For other replicas to hear of a decision: until then those that wait there have the first claim on it. */
  readonly heldFirstMs: number;
  /** Whether paths stand in the audit log. */
  readonly paths: boolean;
  readonly on: ApprovalEvents;
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
};
