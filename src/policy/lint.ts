// What a policy set says that is not malformed and still cannot be meant. `error`: must not be loaded.

import { holds, overlap } from "./overlap.ts";
import { parsePattern, type HostPattern } from "./pattern.ts";
import { speaksHttp } from "./rules.ts";
import type { Methods, Network, Policy, PolicySet, Rule } from "./types.ts";

export type Finding = {
  readonly severity: "error" | "warning";
  readonly source: string;
  readonly message: string;
};

export function lint(set: PolicySet): readonly Finding[] {
  return set.policies.flatMap((policy) => [
    ...lintSplice(policy),
    ...lintTcp(policy),
    ...policy.allow.flatMap(lintAllow),
    ...policy.deny.flatMap(lintDeny),
    ...policy.tcp.flatMap(lintAllow),
    ...lintPolicy(policy),
  ]);
}

/**
 * What is passed unread cannot be held to methods or paths. So every host that a splice rule names must be allowed
 * without either, by one grant that holds them all, or be denied.
 */
function lintSplice(policy: Policy): Finding[] {
  if (policy.splice.length === 0) return [];
  const grants = grantsOf(policy);
  const narrow = policy.deny.filter(
    ({ methods, paths }) => isLimited(methods ?? "all") || paths !== undefined,
  );
  return policy.splice.flatMap((rule) => {
    const error = finding("error", rule.source);
    const key = rule.paths === undefined ? "methods" : "paths";
    if (isLimited(rule.methods ?? "all") || rule.paths !== undefined) {
      return [error(`a splice rule cannot be narrowed by \`${key}\`: the requests are not read`)];
    }
    const pattern = parsePattern(rule.host);
    if (pattern.kind === "problem") return [];
    const denial = narrow.find(
      ({ host, ports }) => portsMeet(ports, rule.ports) && meetsAny(pattern, [host]),
    );
    if (denial !== undefined) {
      return [
        error(`\`${rule.host}\` is not read, so the deny rule at ${denial.source} could not be held to`),
      ];
    }
    const meeting = grants.filter((grant) => portsMeet(grant.ports, rule.ports) && grant.meets(pattern));
    if (meeting.length === 0) {
      return [finding("warning", rule.source)(`nothing allows \`${rule.host}\`, and to splice it does not`)];
    }
    if (meeting.some((grant) => !grant.limited && portsHold(grant.ports, rule.ports) && grant.holds(pattern)))
      return [];
    const limiting = meeting.find(({ limited }) => limited);
    if (limiting === undefined) return [];
    return [
      error(
        `\`${rule.host}\` is not read, so it needs \`methods: all\` without paths; ${limiting.name} limits it`,
      ),
    ];
  });
}

/**
 * Bytes that nobody reads cannot be held to methods or paths either: no narrowed deny rule may concern the port, and no
 * limited grant that is about HTTP on it.
 */
function lintTcp(policy: Policy): Finding[] {
  if (policy.tcp.length === 0) return [];
  const limited = grantsOf(policy).filter((grant) => grant.limited);
  const narrow = policy.deny.filter(
    ({ methods, paths }) => isLimited(methods ?? "all") || paths !== undefined,
  );
  return policy.tcp.flatMap((rule) => {
    const error = finding("error", rule.source);
    const key = (["methods", "paths"] as const).find((key) => rule[key] !== undefined);
    if (key !== undefined)
      return [error(`a tcp rule cannot be narrowed by \`${key}\`: what it passes is not read`)];
    const pattern = parsePattern(rule.host);
    const { ports = [] } = rule;
    if (pattern.kind === "problem") return [];
    const denial = narrow.find((other) => portsMeet(other.ports, ports) && meetsAny(pattern, [other.host]));
    if (denial !== undefined) {
      return [
        error(`\`${rule.host}\` is not read, so the deny rule at ${denial.source} could not be held to`),
      ];
    }
    const limiting = limited.find(
      (grant) =>
        ports.some((port) => speaksHttp(grant.ports && new Set(grant.ports), port)) && grant.meets(pattern),
    );
    if (limiting !== undefined) {
      return [error(`\`${rule.host}\` is not read on that port, so ${limiting.name} could not be held to`)];
    }
    const one = pattern.kind === "name" || (pattern.kind === "network" && isOneAddress(pattern.network));
    return one
      ? []
      : [finding("warning", rule.source)(`\`${rule.host}\` opens raw TCP to more than one host; name each`)];
  });
}

function isOneAddress({ bytes, prefix }: Network): boolean {
  return prefix === bytes.length * 8;
}

type Grant = {
  readonly name: string;
  readonly limited: boolean;
  readonly ports: readonly number[] | undefined;
  readonly meets: (pattern: HostPattern) => boolean;
  readonly holds: (pattern: HostPattern) => boolean;
};

function grantsOf({ allow, presets, methods }: Policy): readonly Grant[] {
  const rules = allow.map((rule): Grant => ({
    name: `the rule at ${rule.source}`,
    limited: isLimited(rule.methods ?? methods) || rule.paths !== undefined,
    ports: rule.ports,
    meets: (pattern) => meetsAny(pattern, [rule.host]),
    holds: (pattern) => heldByAny(pattern, [rule.host]),
  }));
  const named = presets.map(({ name, patterns }): Grant => ({
    name: `preset ${name}`,
    limited: isLimited(methods),
    ports: undefined,
    meets: (pattern) => (name === "all" ? pattern.kind !== "network" : meetsAny(pattern, patterns)),
    holds: (pattern) => (name === "all" ? pattern.kind !== "network" : heldByAny(pattern, patterns)),
  }));
  return [...rules, ...named];
}

function meetsAny(pattern: HostPattern, texts: readonly string[]): boolean {
  return texts.map(parsePattern).some((other) => other.kind !== "problem" && overlap(pattern, other));
}

function heldByAny(pattern: HostPattern, texts: readonly string[]): boolean {
  return texts.map(parsePattern).some((other) => other.kind !== "problem" && holds(other, pattern));
}

function lintAllow(rule: Rule): Finding[] {
  const warning = finding("warning", rule.source);
  const empty = (["methods", "ports", "paths"] as const).filter((key) => rule[key]?.length === 0);
  const broad = (rule.networks ?? []).filter((network) => network.endsWith("/0"));
  return [
    ...empty.map((key) => warning(`an empty \`${key}\` permits nothing`)),
    ...broad.map((network) => warning(`\`${network}\` opens every private network to this host's DNS`)),
  ];
}

function lintDeny(rule: Rule): Finding[] {
  if (rule.networks === undefined) return [];
  return [finding("error", rule.source)("a deny rule takes no networks; name the network as its host")];
}

function lintPolicy({ name, presets, methods, intents, mode, ask }: Policy): Finding[] {
  const warning = finding("warning", name);
  return [
    ...(presets.some((preset) => preset.name === "all")
      ? [warning("the preset `all` is not recommended: code and secrets can be sent to any host")]
      : []),
    ...(ask !== "never" && mode === "report-only"
      ? [warning("nothing is asked about while the policy only reports: it all passes")]
      : []),
    ...(methods.length === 0 && intents.length > 0
      ? [warning("an empty `methods` permits nothing, so its intents do nothing")]
      : []),
  ];
}

function portsMeet(a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  return a === undefined || b === undefined || a.some((port) => b.includes(port));
}

/** Whether `a` is for every port that `b` is for. */
function portsHold(a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  return a === undefined || (b !== undefined && b.every((port) => a.includes(port)));
}

function isLimited(methods: Methods): boolean {
  return methods !== "all";
}

function finding(severity: Finding["severity"], source: string): (message: string) => Finding {
  return (message) => ({ severity, source, message });
}
