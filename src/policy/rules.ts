// How rules are made ready, and which of a host's are to be asked, in which order.

import type { CompiledRule, RuleKind, RulesOfHost } from "./compile.ts";
import type { Methods } from "./types.ts";

/** Rules of one kind over all the patterns that match, in the order of writing. */
export function inOrder(found: readonly RulesOfHost[], kind: RuleKind): readonly CompiledRule[] {
  let rules: readonly CompiledRule[] = NONE;
  let merged = false;
  for (const bucket of found) {
    const more = bucket[kind];
    if (more.length === 0) continue;
    merged = rules.length > 0;
    rules = merged ? [...rules, ...more] : more;
  }
  return merged ? [...new Set(rules)].sort((a, b) => a.order - b.order) : rules;
}

export function isVoid(rule: CompiledRule, at: number): boolean {
  return at >= rule.expires;
}

export function isForPort(rule: CompiledRule, port: number): boolean {
  return rule.ports === undefined || rule.ports.has(port);
}

/** Narrowed by what only a request tells. */
export function isNarrow(rule: CompiledRule): boolean {
  return rule.methods !== "all" || rule.paths !== undefined;
}

/** A grant for these ports is about HTTP on this one: it names it, or names none and it is one of HTTP's own. */
export function speaksHttp(ports: ReadonlySet<number> | undefined, port: number): boolean {
  return ports === undefined ? HTTP_PORTS.has(port) : ports.has(port);
}

/** A rule with the verdicts that it gives. */
export function bind(rule: Omit<CompiledRule, "intercept" | "splice" | "tcp">): CompiledRule {
  const allow = { action: "allow", rule: rule.ref, preset: rule.preset, wouldDeny: undefined } as const;
  return {
    ...rule,
    intercept: { ...allow, handling: "intercept" },
    splice: { ...allow, handling: "splice" },
    tcp: { ...allow, handling: "tcp" },
  };
}

export function compileMethods(methods: Methods): CompiledRule["methods"] {
  return methods === "all" ? methods : new Set(methods);
}

const HTTP_PORTS: ReadonlySet<number> = new Set([80, 443]);
const NONE: readonly CompiledRule[] = [];
