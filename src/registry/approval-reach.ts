// How far an approval reaches: what a decision writes beside the approval itself. What is granted is what was shown: this
// sandbox, this host and port, this method and this very path, and nothing that was not seen.

import { parsePath } from "../net/request-target.ts";
import { readings } from "../policy/paths.ts";
import type { Approval } from "./approval-document.ts";
import { ControlError, type Decision, type NewGrant, type SandboxView } from "./types.ts";

export type Allowing = Extract<Decision, { action: "allow" }>;

/** A rule for the policy's file. */
export type AlwaysRule = {
  /** Id of the approval that it comes from. */
  readonly approval: string;
  readonly policy: string;
  readonly host: string;
  readonly port: number;
  readonly method: string;
  readonly paths: readonly string[];
  readonly reason: string;
};

/** `undefined`: the decision grants nothing beyond the requests themselves. */
export function grantFor(
  approval: Approval,
  decision: Allowing,
  { sandbox, at }: { readonly sandbox: SandboxView | undefined; readonly at: number },
): (NewGrant & { readonly sandbox: string }) | undefined {
  if (decision.scope !== "sandbox" && decision.scope !== "time") return undefined;
  if (sandbox === undefined)
    throw new ControlError("invalid", "nobody says whose request it is: allow it once, or always");
  if (decision.scope === "time" && !(decision.ms >= 1_000 && decision.ms <= LONGEST_MS))
    throw new ControlError("invalid", "a time is from one second to 30 days");
  const ttl = decision.scope === "time" ? decision.ms : (sandbox.expires ?? at + LONGEST_MS) - at;
  return {
    sandbox: sandbox.id,
    host: approval.host,
    ports: [approval.port],
    methods: [approval.method],
    paths: globsFor(approval),
    reason: decision.reason,
    ttl,
  };
}

export function ruleFor(approval: Approval, { scope, reason }: Allowing): AlwaysRule | undefined {
  if (scope !== "always") return undefined;
  const { id, policy, host, port, method } = approval;
  return { approval: id, policy, host, port, method, paths: globsFor(approval), reason };
}

/** The globs that match this path and no other. */
function globsFor({ path: text }: Approval): readonly string[] {
  const path = parsePath(text);
  // A star would stand for other paths as well, and there is no way to write one that stands for itself.
  if (path === undefined || path.ambiguous || text.includes("*"))
    throw new ControlError("invalid", "no rule can name this path and no other: allow it once");
  return [...new Set(readings(path))];
}

const LONGEST_MS = 30 * 86_400_000;
