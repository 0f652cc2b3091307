// The one place where it is decided whether something may leave: by what is known of the connection or request.
// A lockdown first, then what an administrator requires, deny rules, allow rules and presets, and what was granted for a while; what
// none of them allows is denied, or asked about where the policy says so, whatever was configured.

import { isAddressLiteral } from "../net/host.ts";
import { aboveCeiling } from "./ceiling.ts";
import type { CompiledRule, RuleKind, RulesOfHost, Snapshot } from "./compile.ts";
import { denialOf, grantOf, isApprovable, NEARNESS, type DecideFacts, type Miss } from "./grant.ts";
import { inOrder, isForPort, isNarrow, isVoid, speaksHttp } from "./rules.ts";
import type { Allow, Ask, Denial, Policy, RuleRef, Verdict } from "./types.ts";
import { unfitForSecret } from "./secrets.ts";
import { lockedDown, refuse, unknownPolicy, type Step, type Trace } from "./verdict.ts";

export { admit } from "./admit.ts";

export function decide(snapshot: Snapshot, facts: DecideFacts, trace?: Trace): Verdict {
  const compiled = snapshot.policies.get(facts.policy);
  const locked = lockedDown(compiled?.policy, facts.standing, trace);
  if (locked !== undefined) return locked;
  if (compiled === undefined) return unknownPolicy(facts.policy, trace);
  const { policy, hosts } = compiled;
  const above = aboveCeiling(snapshot.ceilings, facts, trace);
  if (above !== undefined) return refuse(policy, above);
  // Before the mode is asked: a tunnel with two names in it could not be recorded truthfully (invariant 5).
  if (facts.stage === "client-hello" && facts.sni !== undefined && facts.sni !== facts.target.host) {
    const because = "the TLS server name is not the host of the tunnel";
    trace?.({ name: "server-name", outcome: "deny", rule: undefined, because });
    return refuse(policy, { reason: "sni-mismatch", rule: undefined });
  }
  const judged = judge(hosts.find(facts.target.host), facts, trace);
  const verdict =
    "action" in judged ? judged : (lifted(policy, facts, { judged, trace }) ?? refuse(policy, judged));
  if (verdict.action === "deny") return verdict;
  const unfit = unfitForSecret(compiled, facts, trace);
  return unfit === undefined ? verdict : refuse(policy, unfit);
}

function lifted(
  policy: Policy,
  facts: DecideFacts,
  { judged, trace }: { readonly judged: Objection; readonly trace: Trace | undefined },
): Allow | Ask | undefined {
  if (policy.mode === "report-only") return reportOnly(judged, trace);
  return judged.missed ? asked(policy, facts, { miss: judged, trace }) : undefined;
}

type Objection = Denial & {
  readonly rule: RuleRef;
  /** No rule speaks against it; there is none for it. */
  readonly missed: boolean;
};

/** Whatever was configured, what no rule allows ends on the last line (invariant 1). */
function judge(
  found: readonly RulesOfHost[],
  facts: DecideFacts,
  trace: Trace | undefined,
): Allow | Objection {
  const objection = denied(found, facts, trace);
  if (objection !== undefined) return objection;
  const raw = passedRaw(found, facts, trace);
  if (raw !== undefined) return raw;
  let nearest: { readonly reason: Miss; readonly rule: RuleRef } | undefined;
  for (const kind of GRANTING) {
    const rules = inOrder(found, kind);
    if (rules.length === 0) trace?.(noneOf(kind));
    for (const rule of rules) {
      const grant = isVoid(rule, facts.at) ? "expired" : grantOf(rule, facts);
      trace?.(stepOf(kind, rule, grant));
      if (typeof grant === "object") return spliced(found, facts, trace) ?? grant;
      if (grant === "expired") continue;
      if (nearest === undefined || NEARNESS[grant] > NEARNESS[nearest.reason]) {
        nearest = { reason: grant, rule: rule.ref };
      }
    }
  }
  const grant = granted(facts, trace);
  if (grant !== undefined) return grant;
  const reason = isAddressLiteral(facts.target.host) ? "address-literal" : "host-not-allowed";
  trace?.({ name: "default", outcome: "deny", rule: DEFAULT, because: "what no rule allows is denied" });
  return { ...(nearest ?? { reason, rule: DEFAULT }), missed: true };
}

/** What was granted for a while can only turn a miss: it is asked last, and never passes anything unread. */
function granted(facts: DecideFacts, trace: Trace | undefined): Allow | undefined {
  const found = facts.standing?.grants?.find(facts.target.host);
  if (found === undefined) return undefined;
  for (const rule of inOrder(found, "allow")) {
    const grant = isVoid(rule, facts.at) ? "expired" : grantOf(rule, facts);
    trace?.(stepOf("grant", rule, grant));
    if (typeof grant === "object") return grant;
  }
  return undefined;
}

/**
 * What becomes of a miss that somebody could approve. Before the request is known, the tunnel to it is let begin, to be
 * read: nothing is dialed for it before the request has a verdict of its own.
 */
function asked(
  { ask, showRule }: Policy,
  facts: DecideFacts,
  { miss, trace }: { readonly miss: Objection; readonly trace: Trace | undefined },
): Allow | Ask | undefined {
  if (ask === "never") return undefined;
  if (!isApprovable(facts)) {
    trace?.({ name: "ask", outcome: "continue", rule: ASK, because: "nobody can approve this" });
    return undefined;
  }
  if (facts.stage !== "request") {
    trace?.({
      name: "ask",
      outcome: "allow",
      rule: ASK,
      because: "to be read, and its requests asked about",
    });
    return ASKING;
  }
  trace?.({ name: "ask", outcome: "ask", rule: ASK, because: "somebody may approve it" });
  const { reason, rule } = miss;
  return { action: "ask", reason, rule, shown: showRule ? rule.reason : undefined, wait: ask === "wait" };
}

function denied(
  found: readonly RulesOfHost[],
  facts: DecideFacts,
  trace: Trace | undefined,
): Objection | undefined {
  const rules = inOrder(found, "deny");
  if (rules.length === 0) trace?.(noneOf("deny"));
  for (const rule of rules) {
    const reason = isVoid(rule, facts.at) ? undefined : denialOf(rule, facts);
    if (reason !== undefined) {
      trace?.({ name: "deny", outcome: "deny", rule: rule.ref, because: reason });
      return { reason, rule: rule.ref, missed: false };
    }
    const because = isVoid(rule, facts.at) ? "expired" : "narrowed to other ports, methods or paths";
    trace?.({ name: "deny", outcome: "continue", rule: rule.ref, because });
  }
  return undefined;
}

/**
 * The verdict to pass TLS unread. Only where nothing limits the host by method or path: what is not read can't be
 * held to a limit (invariant 3), and the load-time error for it must not be the only guard.
 */
function spliced(
  found: readonly RulesOfHost[],
  facts: DecideFacts,
  trace: Trace | undefined,
): Allow | undefined {
  if (facts.stage === "request") return undefined;
  const concerns = (rule: CompiledRule): boolean =>
    !isVoid(rule, facts.at) && isForPort(rule, facts.target.port);
  const rule = inOrder(found, "splice").find(concerns);
  if (rule === undefined) return undefined;
  const limited = inOrder(found, "deny").some(concerns);
  const grants = GRANTING.flatMap((kind) => inOrder(found, kind));
  const grant = limited ? undefined : grants.find((grant) => concerns(grant) && !isNarrow(grant));
  const because =
    grant === undefined ? "limited by method or path, so it is read all the same" : "passed unread";
  trace?.({ name: "splice", outcome: grant === undefined ? "continue" : "allow", rule: rule.ref, because });
  return grant?.splice;
}

/**
 * The verdict to pass whatever a tunnel carries, unread. What HTTP may do is not widened by it: where the port is HTTP's
 * to be limited, by method or path, the tcp rule is set aside; the load-time error for it must not be the only guard.
 */
function passedRaw(
  found: readonly RulesOfHost[],
  facts: DecideFacts,
  trace: Trace | undefined,
): Allow | undefined {
  if (facts.stage !== "connect") return undefined;
  const { port } = facts.target;
  const rule = inOrder(found, "tcp").find((rule) => !isVoid(rule, facts.at) && isForPort(rule, port));
  if (rule === undefined) return undefined;
  const limits = (other: CompiledRule): boolean => !isVoid(other, facts.at) && isNarrow(other);
  const limited =
    inOrder(found, "deny").some((other) => limits(other) && isForPort(other, port)) ||
    GRANTING.flatMap((kind) => inOrder(found, kind)).some(
      (other) => limits(other) && speaksHttp(other.ports, port),
    );
  const because = limited
    ? "limited by method or path, so it is read all the same"
    : "raw TCP, passed unread";
  trace?.({ name: "tcp", outcome: limited ? "continue" : "allow", rule: rule.ref, because });
  return limited ? undefined : rule.tcp;
}

function reportOnly({ reason, rule }: Objection, trace: Trace | undefined): Allow {
  trace?.({ name: "report-only", outcome: "allow", rule, because: "the policy only reports" });
  return {
    action: "allow",
    rule,
    preset: undefined,
    handling: "intercept",
    wouldDeny: { reason, rule },
  };
}

function noneOf(name: RuleKind): Step {
  const because = name === "preset" ? "no preset names this host" : `no ${name} rule names this host`;
  return { name, outcome: "continue", rule: undefined, because };
}

function stepOf(name: RuleKind | "grant", { ref }: CompiledRule, grant: Allow | Miss | "expired"): Step {
  if (typeof grant === "string") return { name, outcome: "continue", rule: ref, because: grant };
  return { name, outcome: "allow", rule: grant.rule, because: "allowed" };
}

const GRANTING = ["allow", "preset"] as const;
const DEFAULT: RuleRef = { id: "default", source: "default" };
const ASK: RuleRef = { id: "ask", source: "ask" };
const ASKING: Allow = {
  action: "allow",
  rule: ASK,
  preset: undefined,
  handling: "intercept",
  wouldDeny: undefined,
};
