// Policies as written to policies as decided on: every pattern parsed, indexed and bound to its rule, once.
// A set with any problem compiles to its problems and to nothing else.

import type { Network } from "../net/address.ts";
import { budgetsUnder, compileBudgets, type CompiledBudgets } from "./budgets.ts";
import { type Ceiling, compileCeiling } from "./ceiling.ts";
import { isUsable, mayBeUnread } from "./exceed.ts";
import { HostIndex } from "./hosts.ts";
import { compileGlob, type Glob } from "./paths.ts";
import { parsePattern } from "./pattern.ts";
import type { Requirements } from "./requirements.ts";
import { bind, compileMethods } from "./rules.ts";
import { compileSecrets, type CompiledSecrets } from "./secrets.ts";
import type { Allow, Grant, Grants, Intent, Policy, PolicySet, Preset, Rule, RuleRef } from "./types.ts";

export type Snapshot = {
  readonly generation: number;
  readonly policies: ReadonlyMap<string, CompiledPolicy>;
  /** What no policy exceeds; those above hold to it as far as their keys alone can tell. */
  readonly ceilings: readonly Ceiling[];
  /** When rules become void, in milliseconds since the epoch; no verdict changes by time alone in between. */
  readonly expiries: readonly number[];
};

export type CompiledPolicy = {
  readonly policy: Policy;
  readonly hosts: HostIndex<RulesOfHost>;
  readonly budgets: CompiledBudgets | undefined;
  readonly secrets: CompiledSecrets | undefined;
};

/** The rules of one host pattern, in the order of writing. */
export type RulesOfHost = { [K in RuleKind]: CompiledRule[] };
export type RuleKind = "deny" | "allow" | "preset" | "splice" | "tcp";

/** A rule, or a preset's grant: a preset is an allow rule for many hosts. */
export type CompiledRule = {
  readonly ref: RuleRef;
  /** Place in the order of writing. */
  readonly order: number;
  readonly preset: string | undefined;
  readonly expires: number;
  readonly ports: ReadonlySet<number> | undefined;
  readonly paths: readonly Glob[] | undefined;
  readonly methods: "all" | ReadonlySet<string>;
  /** Exceptions to `methods`; none where the rule names its own methods. */
  readonly intents: readonly Intent[];
  /** What the address guard lets pass, the rule's own host included where that is a network. */
  readonly networks: readonly Network[];
  /** The verdicts that this rule gives, made once: deciding makes none. */
  readonly intercept: Allow;
  readonly splice: Allow;
  readonly tcp: Allow;
};

export type Problem = { readonly source: string; readonly message: string };
export type Compiled = { readonly snapshot: Snapshot } | { readonly problems: readonly Problem[] };

export function compile(set: PolicySet): Compiled {
  const problems: Problem[] = [];
  const policies = new Map<string, CompiledPolicy>();
  const { requirements = [] } = set;
  const ceilings = requirements.map((one) => compileCeiling(one, problems));
  for (const policy of set.policies) {
    if (policies.has(policy.name)) {
      problems.push({ source: policy.name, message: `there is another policy named \`${policy.name}\`` });
    }
    policies.set(policy.name, compilePolicy(policy, requirements, problems));
  }
  if (problems.length > 0) return { problems };
  const rules = set.policies.flatMap(({ allow, deny, splice, tcp }) => [
    ...allow,
    ...deny,
    ...splice,
    ...tcp,
  ]);
  const expiries = rules.flatMap(({ expires }) => expires ?? []);
  return { snapshot: { generation: set.generation, policies, ceilings, expiries } };
}

/** What was granted, as allow rules that narrow themselves; what cannot be read grants nothing. */
export function compileGrants(grants: readonly Grant[]): Grants {
  const hosts: Grants = new HostIndex<RulesOfHost>(noRules);
  for (const [order, grant] of grants.entries()) {
    const problems: string[] = [];
    const paths = compilePaths(grant.paths, (message) => problems.push(message));
    const pattern = parsePattern(grant.host);
    if (pattern.kind === "problem" || pattern.kind === "network" || problems.length > 0) continue;
    const compiled = bind({
      ref: {
        id: `grant:${grant.id}`,
        source: grant.source,
        ...(grant.reason !== undefined && { reason: grant.reason }),
      },
      order,
      preset: undefined,
      expires: grant.expires,
      ports: grant.ports && new Set(grant.ports),
      paths,
      methods: compileMethods(grant.methods),
      intents: [],
      // Nothing but the operator's file leads inside.
      networks: [],
    });
    for (const bucket of hosts.at(pattern)) bucket.allow.push(compiled);
  }
  return hosts;
}

function noRules(): RulesOfHost {
  return { deny: [], allow: [], preset: [], splice: [], tcp: [] };
}

/** What the requirements forbid is left out: a preset, a rule that passes bytes unread, report-only; and budgets are theirs, too. */
function compilePolicy(
  policy: Policy,
  requirements: readonly Requirements[],
  problems: Problem[],
): CompiledPolicy {
  const hosts = new HostIndex<RulesOfHost>(noRules);
  for (const kind of ["deny", "allow", "splice", "tcp"] as const) {
    for (const [order, rule] of policy[kind].entries()) {
      const report = (message: string): void => void problems.push({ source: rule.source, message });
      if (kind === "tcp" && rule.ports === undefined) report("a tcp rule names its ports");
      if (kind !== "allow") refuseEmptyLists(kind, rule, report);
      if (
        (kind === "splice" || kind === "tcp") &&
        !requirements.every((one) => mayBeUnread(one, kind, rule.host))
      )
        continue;
      addRule({ policy, kind, rule, order, hosts, report });
    }
  }
  for (const [order, preset] of policy.presets.entries()) {
    if (!requirements.every((one) => isUsable(one, preset))) continue;
    addPreset({ policy, preset, order, hosts, problems });
  }
  const mode = requirements.some((one) => one.mode !== undefined) ? "enforce" : policy.mode;
  const budgets = budgetsUnder(policy, requirements);
  return {
    policy: { ...policy, mode, budgets },
    hosts,
    budgets: compileBudgets(budgets, problems),
    secrets: compileSecrets(policy, hosts, problems),
  };
}

function addRule(of: {
  readonly policy: Policy;
  readonly kind: "deny" | "allow" | "splice" | "tcp";
  readonly rule: Rule;
  readonly order: number;
  readonly hosts: HostIndex<RulesOfHost>;
  readonly report: (message: string) => void;
}): void {
  const { policy, kind, rule, order, hosts, report } = of;
  const pattern = parsePattern(rule.host);
  const paths = compilePaths(rule.paths, report);
  const networks = compileNetworks(rule.networks ?? [], report);
  if (pattern.kind === "problem") return report(pattern.message);
  const inherits = kind === "allow" && rule.methods === undefined;
  const compiled = bind({
    ref: {
      id: `${kind}[${order}]`,
      source: rule.source,
      ...(rule.reason === undefined ? {} : { reason: rule.reason }),
    },
    order,
    preset: undefined,
    expires: rule.expires ?? Infinity,
    ports: rule.ports && new Set(rule.ports),
    paths,
    methods: compileMethods(inherits ? policy.methods : (rule.methods ?? "all")),
    intents: inherits ? intentsOf(policy) : [],
    networks: pattern.kind === "network" ? [...networks, pattern.network] : networks,
  });
  for (const bucket of hosts.at(pattern)) bucket[kind].push(compiled);
}

function addPreset(of: {
  readonly policy: Policy;
  readonly preset: Preset;
  readonly order: number;
  readonly hosts: HostIndex<RulesOfHost>;
  readonly problems: Problem[];
}): void {
  const { policy, preset, order, hosts, problems } = of;
  const source = `preset:${preset.name}`;
  const isAll = preset.name === "all";
  const grant = bind({
    ref: { id: source, source },
    // Whatever preset names the host is told before the one that names them all.
    order: isAll ? policy.presets.length : order,
    preset: preset.name,
    expires: Infinity,
    ports: undefined,
    paths: undefined,
    methods: compileMethods(policy.methods),
    intents: intentsOf(policy).filter((intent) => preset.intents?.includes(intent) === true),
    networks: [],
  });
  if (isAll) hosts.every().preset.push(grant);
  if (isAll && preset.patterns.length > 0)
    problems.push({ source, message: "the preset `all` has no patterns" });
  for (const text of preset.patterns) {
    const pattern = parsePattern(text);
    if (pattern.kind === "problem") problems.push({ source, message: pattern.message });
    else if (pattern.kind === "network") {
      problems.push({ source, message: `\`${text}\`: only a rule can name an address, no preset` });
    } else for (const bucket of hosts.at(pattern)) bucket.preset.push(grant);
  }
}

/** An empty list of methods permits nothing, so there is nothing to except from it. */
function intentsOf(policy: Policy): readonly Intent[] {
  return policy.methods.length === 0 ? [] : policy.intents;
}

function compilePaths(
  texts: readonly string[] | undefined,
  report: (message: string) => void,
): readonly Glob[] | undefined {
  return texts?.flatMap((text) => {
    const glob = compileGlob(text);
    if (glob instanceof RegExp) return [glob];
    report(glob.problem);
    return [];
  });
}

function compileNetworks(texts: readonly string[], report: (message: string) => void): readonly Network[] {
  return texts.flatMap((text) => {
    const pattern = parsePattern(text);
    if (pattern.kind === "network") return [pattern.network];
    report(pattern.kind === "problem" ? pattern.message : `\`${text}\` is not a network`);
    return [];
  });
}

/** In an allow rule an empty list permits nothing; here it would forbid nothing, and look as if it did. */
function refuseEmptyLists(kind: string, rule: Rule, report: (message: string) => void): void {
  for (const key of ["methods", "ports", "paths"] as const) {
    if (rule[key]?.length === 0)
      report(`an empty \`${key}\` makes this ${kind} rule match nothing; leave it out`);
  }
}
