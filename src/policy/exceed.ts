// What exceeds the requirements: in a policy, key by key, and in what somebody would grant or approve. For whoever loads, grants and
// answers; verdicts do not depend on it, since what slips through here is held to the ceiling all the same.

import { holds } from "./overlap.ts";
import { parsePattern, type HostPattern } from "./pattern.ts";
import { type Requirements, unreadable } from "./requirements.ts";
import type { Budget, Methods, Policy, Preset, Rule } from "./types.ts";

export type Excess = {
  /** In the policy as it is written. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  /** That is not to be used; its policy names it, or one that includes it. */
  readonly preset?: Preset;
};

export function excessOf(policy: Policy, all: readonly Requirements[]): readonly Excess[] {
  return all.flatMap((requirements) => [
    ...excessOfPresets(policy, requirements),
    ...excessOfMethods(policy.methods, requirements).map((message) => ({ path: ["methods"], message })),
    ...excessOfIntents(policy, requirements),
    ...excessOfMode(policy, requirements),
    ...excessOfBudgets(policy, requirements),
    ...(["allow", "splice", "tcp"] as const).flatMap((kind) =>
      policy[kind].flatMap((rule, index) =>
        excessOfRule(kind, rule, requirements).map(({ path, message }) => ({
          path: [kind, index, ...path],
          message,
        })),
      ),
    ),
  ]);
}

/** Whether a preset may be used: itself, or as part of one that may. What means every host is part of none. */
export function isUsable({ presets }: Requirements, { name, by = [] }: Preset): boolean {
  if (presets === undefined || presets.value.includes(name)) return true;
  return name !== EVERY_HOST && by.some((one) => presets.value.includes(one));
}

/** Whether a rule that passes bytes unread may do so. */
export function mayBeUnread(requirements: Requirements, kind: "splice" | "tcp", host: string): boolean {
  const limit = unreadable(requirements, kind);
  return limit === undefined || isWithin(host, limit.value);
}

/** What somebody would let pass beside the policies. */
export type Exception = {
  readonly host: string;
  readonly methods: Methods;
  /** For how long; absent: it has no end of its own. */
  readonly ms?: number;
  /** It would become a rule of the file. */
  readonly always?: boolean;
  /** Of whoever allows it. */
  readonly role: string;
};

/** The first reason against it. */
export function excessOfException(exception: Exception, all: readonly Requirements[]): string | undefined {
  return all.flatMap((requirements) => excessesOf(exception, requirements))[0];
}

function excessesOf(exception: Exception, requirements: Requirements): string[] {
  const { host, methods, ms, always = false, role } = exception;
  const { role: least, longestMs, always: permitted } = requirements.grants;
  const found: string[] = [];
  if (least !== undefined && ROLES.indexOf(role) < ROLES.indexOf(least.value))
    found.push(said(`only the role ${least.value} and above may allow this`, least));
  if (always && permitted?.value === false)
    found.push(said("nothing may be allowed for always by an approval", permitted));
  if (ms !== undefined && longestMs !== undefined && ms > longestMs.value)
    found.push(said(`nothing may be granted for longer than ${longestMs.value / 1000} seconds`, longestMs));
  found.push(...excessOfHost(host, requirements), ...excessOfMethods(methods, requirements));
  return found;
}

function excessOfPresets({ presets }: Policy, requirements: Requirements): Excess[] {
  const { presets: limit, hosts } = requirements;
  return presets.flatMap((preset): Excess[] => {
    const { name, patterns } = preset;
    if (limit !== undefined && !isUsable(requirements, preset)) {
      const message = said(`preset ${JSON.stringify(name)} may not be used: ${listed(limit.value)}`, limit);
      return [{ path: ["preset"], message, preset }];
    }
    if (hosts === undefined) return [];
    const beyond = name === EVERY_HOST ? "every host" : patterns.find((one) => !isWithin(one, hosts.value));
    if (beyond === undefined) return [];
    const message = `preset ${JSON.stringify(name)} allows ${beyond}, and not every host may be allowed`;
    return [{ path: ["preset"], message: said(message, hosts), preset }];
  });
}

function excessOfMethods(methods: Methods, { methods: limit }: Requirements): string[] {
  if (limit === undefined) return [];
  const { value } = limit;
  const beyond = methods === "all" ? ["all"] : methods.filter((method) => !value.includes(method));
  if (beyond.length === 0) return [];
  return [said(`methods ${beyond.join(", ")} may not be allowed: ${listed(value)}`, limit)];
}

function excessOfIntents({ intents }: Policy, { methods, intents: permitted }: Requirements): Excess[] {
  if (methods === undefined) return [];
  return intents.flatMap((intent, index) => {
    if (permitted.includes(intent)) return [];
    const message = said(`the intent ${intent} may not be used: ${listed(permitted)}`, methods);
    return [{ path: ["intents", index], message }];
  });
}

function excessOfMode({ mode }: Policy, { mode: limit }: Requirements): Excess[] {
  if (limit === undefined || mode === limit.value) return [];
  return [{ path: ["mode"], message: said(`the policy must be in the mode ${limit.value}`, limit) }];
}

/** Of those for the same hosts: what is spent is held to both, but whoever wrote the greater one believes in it. */
function excessOfBudgets({ budgets = [] }: Policy, requirements: Requirements): Excess[] {
  return budgets.flatMap((budget) => {
    const { name, host } = budget;
    const above = requirements.budgets.find(
      (most) => most.name === name && most.host === host && mostIn(budget, most.perMs) > most.limit,
    );
    if (above === undefined) return [];
    const path = host === undefined ? ["budgets", name] : ["budgets", "per_host", host, name];
    return [{ path, message: said(`the budget ${name} is greater than it may be`, above) }];
  });
}

/** What a budget lets pass within such a time; windows of either begin at multiples of their lengths, and the shorter divides the longer. */
function mostIn({ limit, perMs }: Budget, ms: number): number {
  if (perMs === 0) return limit;
  return ms === 0 ? Infinity : limit * Math.max(1, ms / perMs);
}

function excessOfRule(kind: "allow" | "splice" | "tcp", rule: Rule, requirements: Requirements): Excess[] {
  const { host, methods, networks = [] } = rule;
  const found: Excess[] = excessOfHost(host, requirements).map((message) => ({ path: ["host"], message }));
  if (kind === "allow" && methods !== undefined)
    for (const message of excessOfMethods(methods, requirements)) found.push({ path: ["methods"], message });
  if (kind !== "allow" && !mayBeUnread(requirements, kind, host)) {
    const { value, source } = unreadable(requirements, kind)!;
    const message = `${JSON.stringify(host)} may not be passed unread: ${listed(value)}`;
    found.push({ path: ["host"], message: said(message, { source }) });
  }
  for (const [index, network] of networks.entries())
    for (const message of excessOfDeny(network, requirements))
      found.push({ path: ["networks", index], message });
  return found;
}

function excessOfHost(host: string, requirements: Requirements): string[] {
  const { hosts } = requirements;
  const beyond =
    hosts === undefined || isWithin(host, hosts.value)
      ? []
      : [said(`${JSON.stringify(host)} is not among the hosts that may be allowed`, hosts)];
  return [...excessOfDeny(host, requirements), ...beyond];
}

/** What is denied in part is cut; what is denied as a whole was written for nothing. */
function excessOfDeny(host: string, { deny }: Requirements): string[] {
  const against = deny.find(({ value }) => isWithin(host, [value]));
  return against === undefined ? [] : [said(`${JSON.stringify(host)} is always denied`, against)];
}

/** What cannot be read is within nothing. */
function isWithin(text: string, outer: readonly string[]): boolean {
  const inner = parsePattern(text);
  return inner.kind !== "problem" && outer.some((one) => within(inner, parsePattern(one)));
}

function within(inner: HostPattern, outer: ReturnType<typeof parsePattern>): boolean {
  return outer.kind !== "problem" && holds(outer, inner);
}

function listed(permitted: readonly string[]): string {
  return permitted.length === 0 ? "none may" : `only ${permitted.join(", ")}`;
}

function said(message: string, { source }: { readonly source: string }): string {
  return `${message} (required by ${source})`;
}

const ROLES: readonly string[] = ["approver", "operator", "admin"];
const EVERY_HOST = "all";
