// Requirements as decided on: what holds of them for each request, whatever the policies say. Asked before any rule; nothing but a
// lockdown comes before it, and nothing lifts it.

import type { Address } from "../net/address.ts";
import type { Host } from "../net/host.ts";
import type { CompiledRule, Problem } from "./compile.ts";
import { grantOf, type DecideFacts } from "./grant.ts";
import { HostIndex } from "./hosts.ts";
import { parsePattern } from "./pattern.ts";
import type { Limit, Requirements } from "./requirements.ts";
import { bind, compileMethods } from "./rules.ts";
import type { Denial, RuleRef } from "./types.ts";
import type { Trace } from "./verdict.ts";

export type Ceiling = {
  readonly requirements: Requirements;
  readonly hosts: { readonly index: HostIndex<RuleRef[]>; readonly rule: RuleRef } | undefined;
  readonly denied: HostIndex<RuleRef[]>;
  /** The first network that is denied. */
  readonly network: RuleRef | undefined;
  /** As a rule for every host. */
  readonly methods: CompiledRule | undefined;
};

export function compileCeiling(requirements: Requirements, problems: Problem[]): Ceiling {
  const { hosts, deny, methods, intents } = requirements;
  const denied = new HostIndex<RuleRef[]>(() => []);
  let network: RuleRef | undefined;
  for (const { value, source } of deny) {
    const rule = { id: "requirement:deny", source };
    if (fill(denied, { text: value, rule, problems }) === "network") network ??= rule;
  }
  return {
    requirements,
    hosts: hosts && compileHosts(hosts, problems),
    denied,
    network,
    methods:
      methods &&
      bind({
        ref: { id: "requirement:methods", source: methods.source },
        order: 0,
        preset: undefined,
        expires: Infinity,
        ports: undefined,
        paths: undefined,
        methods: compileMethods(methods.value),
        intents: methods.value.length === 0 ? [] : intents,
        networks: [],
      }),
  };
}

/** Why no policy can allow this request or this much of it; `undefined`: one may. */
export function aboveCeiling(
  ceilings: readonly Ceiling[],
  facts: DecideFacts,
  trace: Trace | undefined,
): Denial | undefined {
  const found = hostAboveCeiling(ceilings, facts.target.host, trace);
  if (found !== undefined) return found;
  for (const { methods } of ceilings) {
    const grant = methods && grantOf(methods, facts);
    if (typeof grant === "string") return denial(methods?.ref, grant, trace);
  }
  if (ceilings.length > 0)
    trace?.({
      name: "requirement",
      outcome: "continue",
      rule: undefined,
      because: "nothing required forbids it",
    });
  return undefined;
}

export function hostAboveCeiling(
  ceilings: readonly Ceiling[],
  host: Host,
  trace?: Trace,
): Denial | undefined {
  for (const { denied, hosts } of ceilings) {
    const [rule] = denied.find(host).flat();
    if (rule !== undefined) return denial(rule, "this host is always denied", trace);
    if (hosts !== undefined && hosts.index.find(host).length === 0)
      return denial(hosts.rule, "this host is not among those that may be allowed", trace);
  }
  return undefined;
}

export function addressAboveCeiling(ceilings: readonly Ceiling[], address: Address): Denial | undefined {
  for (const { denied } of ceilings) {
    const [rule] = denied.find(address as string as Host).flat();
    if (rule !== undefined) return { reason: "requirement", rule };
  }
  return undefined;
}

/** What could lead to any network leads nowhere where one is denied. */
export function unknownAboveCeiling(ceilings: readonly Ceiling[]): Denial | undefined {
  const rule = ceilings.find(({ network }) => network !== undefined)?.network;
  return rule && { reason: "requirement", rule };
}

function denial(rule: RuleRef | undefined, because: string, trace: Trace | undefined): Denial {
  trace?.({ name: "requirement", outcome: "deny", rule, because });
  return { reason: "requirement", rule };
}

function compileHosts({ value, source }: Limit<readonly string[]>, problems: Problem[]) {
  const index = new HostIndex<RuleRef[]>(() => []);
  const rule = { id: "requirement:hosts", source };
  for (const text of value) fill(index, { text, rule, problems });
  return { index, rule };
}

function fill(
  index: HostIndex<RuleRef[]>,
  of: { readonly text: string; readonly rule: RuleRef; readonly problems: Problem[] },
): "network" | "name" | undefined {
  const { text, rule, problems } = of;
  const pattern = parsePattern(text);
  if (pattern.kind === "problem") {
    problems.push({ source: rule.source, message: pattern.message });
    return undefined;
  }
  for (const bucket of index.at(pattern)) bucket.push(rule);
  return pattern.kind === "network" ? "network" : "name";
}
