// Judges again, by a newer generation, what an older one let begin: by name, by handling, and by the addresses in use.

import type { Address } from "../net/address.ts";
import type { Reason } from "../net/reasons.ts";
import { admit, decide } from "../policy/decide.ts";
import type { ConnectFacts, RequestFacts } from "../policy/types.ts";
import type { Parts, Published } from "./parts.ts";

export type Begun = {
  /** With the policy and the time of now. */
  readonly facts: RequestFacts | ConnectFacts;
  /** What passes unread, and how it was let. */
  readonly unread: "splice" | "tcp" | undefined;
  /** Somebody lifted its miss under this very policy: one that would ask again lets it go on. */
  readonly lifted: boolean;
  /** The one dialed, or those that may be. */
  readonly addresses: readonly Address[];
};

/** Why it may not go on; `undefined` where it may. */
export function noLongerAllowed(
  parts: Parts,
  { snapshot }: Published,
  { facts, unread, lifted, addresses }: Begun,
): Reason | undefined {
  const verdict = decide(snapshot, facts);
  if (verdict.action === "deny" || (verdict.action === "ask" && !lifted)) return verdict.reason;
  // What is to be read from now on can't go on unread.
  if (unread !== undefined && verdict.action === "allow" && verdict.handling !== unread)
    return "policy-changed";
  if (addresses.length === 0) return undefined;
  const { policy, standing, at, target } = facts;
  const admission = admit(snapshot, {
    stage: "address",
    policy,
    standing,
    at,
    target,
    addresses,
    own: parts.own(),
    tcp: unread === "tcp",
  });
  if (admission.action === "deny") return admission.reason;
  return admission.pinned.length < addresses.length ? "policy-changed" : undefined;
}
