// Which of a policy's budgets a host falls under. What is left of them is nobody's business here.

import type { Host } from "../net/host.ts";
import type { Problem, Snapshot } from "./compile.ts";
import { HostIndex } from "./hosts.ts";
import { parsePattern } from "./pattern.ts";
import type { Requirements } from "./requirements.ts";
import type { Budget, Policy } from "./types.ts";

export type CompiledBudgets = {
  readonly every: readonly Budget[];
  readonly hosts: HostIndex<Budget[]>;
};

/** `undefined`: there are none, so that whoever asks looks no further. */
export function compileBudgets(budgets: readonly Budget[], problems: Problem[]): CompiledBudgets | undefined {
  if (budgets.length === 0) return undefined;
  const hosts = new HostIndex<Budget[]>(() => []);
  for (const budget of budgets) {
    if (budget.host === undefined) continue;
    const pattern = parsePattern(budget.host);
    if (pattern.kind === "problem") problems.push({ source: budget.source, message: pattern.message });
    else for (const bucket of hosts.at(pattern)) bucket.push(budget);
  }
  return { every: budgets.filter(({ host }) => host === undefined), hosts };
}

/** A policy's own, and those that are required of it: of two that count the same, the lesser. */
export function budgetsUnder(
  { budgets = [] }: Pick<Policy, "budgets">,
  requirements: readonly Requirements[],
): readonly Budget[] {
  const all = new Map<string, Budget>();
  for (const budget of [...budgets, ...requirements.flatMap((one) => one.budgets)]) {
    const counted = `${budget.name} ${budget.host ?? "*"} ${budget.perMs}`;
    const other = all.get(counted);
    if (other === undefined || budget.limit < other.limit) all.set(counted, budget);
  }
  return [...all.values()];
}

/** Each of them is to be kept to; `undefined`: there are none. */
export function budgetsFor(
  { policies }: Snapshot,
  policy: string,
  host: Host,
): readonly Budget[] | undefined {
  const budgets = policies.get(policy)?.budgets;
  if (budgets === undefined) return undefined;
  const found = [...budgets.every, ...budgets.hosts.find(host).flat()];
  return found.length === 0 ? undefined : found;
}

/** Start of the window that `at` is in; 0 where there is only one. */
export function windowOf({ name, perMs }: Pick<Budget, "name" | "perMs">, at: number): number {
  const length = name === "connections" ? CLAIM_MS : perMs;
  return length === 0 ? 0 : at - (at % length);
}

/** What is open is claimed anew so often, so that what a crash left claimed is free again after it. */
export const CLAIM_MS = 60_000;

/** Whose budget it is: a sandbox's, or where nobody says who they are, all theirs together under one policy. */
export type Owner = { readonly sandbox: string | undefined; readonly policy: string };

/** Limits are the policy's and may change; what is spent belongs to the owner, and is counted under this name. */
export function counterOf({ sandbox, policy }: Owner, { name, host, perMs }: Budget): string {
  const owner = sandbox === undefined ? `policy ${policy}` : `sandbox ${sandbox}`;
  return `budget ${owner} ${name} ${host ?? "*"} ${perMs}`;
}
