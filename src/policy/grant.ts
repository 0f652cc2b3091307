// What one rule says to one request. A grant that is limited by method also refuses what would carry a write past
// the verb: upgrades, override fields, bodies where none belong, and pushes.

import type { CompiledRule } from "./compile.ts";
import { asksForPush, covering } from "./intents.ts";
import { isUnclear, matchesAny, matchesEvery } from "./paths.ts";
import { isForPort, isNarrow } from "./rules.ts";
import { isAddressLiteral } from "../net/host.ts";
import type { Allow, ClientHelloFacts, ConnectFacts, RequestFacts } from "./types.ts";

export type DecideFacts = ConnectFacts | ClientHelloFacts | RequestFacts;

/** How near a rule that names the host came to granting; the nearest miss is the reason of a denial by default. */
export const NEARNESS = {
  "port-not-allowed": 1,
  "path-not-allowed": 2,
  "path-ambiguous": 2,
  "method-not-allowed": 3,
  "push-not-allowed": 4,
  "upgrade-not-allowed": 4,
  "method-override": 4,
  "body-not-allowed": 4,
} as const;

export type Miss = keyof typeof NEARNESS;
type DenyReason = "host-denied" | "path-ambiguous" | "method-override";

/** The verdict that an allow rule or preset gives, or why none. Before the request is known: whether it could give one. */
export function grantOf(rule: CompiledRule, facts: DecideFacts): Allow | Miss {
  if (!isForPort(rule, facts.target.port)) return "port-not-allowed";
  if (facts.stage !== "request") return anythingOf(rule);
  if (rule.paths !== undefined && !matchesEvery(rule.paths, facts.path)) {
    return isUnclear(facts.path) ? "path-ambiguous" : "path-not-allowed";
  }
  if (rule.methods === "all") return rule.intercept;
  if (asksForPush(facts)) return "push-not-allowed";
  const listed = rule.methods.has(facts.method);
  const intent = listed ? undefined : covering(rule.intents, facts);
  if (!listed && intent === undefined) return "method-not-allowed";
  if (facts.upgrade) return "upgrade-not-allowed";
  if (facts.methodOverride) return "method-override";
  if (intent !== undefined) return { ...rule.intercept, rule: { ...rule.ref, id: `intent:${intent}` } };
  return facts.body && BODILESS.has(facts.method) ? "body-not-allowed" : rule.intercept;
}

/** What a deny rule says, in any reading of the request; undefined where it does not concern it. */
export function denialOf(rule: CompiledRule, facts: DecideFacts): DenyReason | undefined {
  if (!isForPort(rule, facts.target.port)) return undefined;
  if (facts.stage !== "request") return isNarrow(rule) ? undefined : "host-denied";
  if (rule.paths !== undefined && !matchesAny(rule.paths, facts.path)) return undefined;
  // An origin may read `post` as POST, and an override field as whatever it says.
  const { methods } = rule;
  if (methods !== "all" && !methods.has(facts.method) && !methods.has(facts.method.toUpperCase())) {
    return facts.methodOverride ? "method-override" : undefined;
  }
  return rule.paths !== undefined && isUnclear(facts.path) ? "path-ambiguous" : "host-denied";
}

/**
 * Whether a miss is one that somebody could approve: where host, port, method and path, which are what an approver is shown,
 * are all that an allowance would have to name. What carries a write past the verb, and what no glob can tell, would take a
 * wider one than was seen; an address leads past the guard, so that only the operator's file names it.
 */
export function isApprovable(facts: DecideFacts): boolean {
  if (isAddressLiteral(facts.target.host)) return false;
  if (facts.stage !== "request") return true;
  if (facts.upgrade || facts.methodOverride || isUnclear(facts.path) || asksForPush(facts)) return false;
  return !(facts.body && BODILESS.has(facts.method));
}

function anythingOf(rule: CompiledRule): Allow | Miss {
  if (rule.paths?.length === 0) return "path-not-allowed";
  return rule.methods !== "all" && rule.methods.size === 0 ? "method-not-allowed" : rule.intercept;
}

const BODILESS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
