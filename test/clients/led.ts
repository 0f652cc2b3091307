// How a namespace's connections are led to the proxy, as docs/transparent.md says, and what its clients are told: whom to trust,
// and nothing of a proxy.

import { blocksOf } from "../docs/markdown.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import type { RealSallyport } from "../support/real-sallyport.ts";
import { loadRules, type Namespace } from "./namespace.ts";

const RULES = blocksOf("docs/transparent.md").filter(({ language }) => language === "nft");

/** By this machine's packet filter; `ports`: of listeners that nothing is redirected to. */
export function leadByMachine({ device, name }: Namespace, ports: readonly number[]): AsyncDisposable {
  const rules = rulesOf(0)
    .replaceAll("sandbox0", device)
    .replaceAll("table inet sallyport", `table inet ${name.replaceAll("-", "_")}`);
  return loadRules(withPorts(rules, ports));
}

/** By the namespace's own; it goes with the namespace. */
export function leadFromInside({ gateway, name }: Namespace, ports: readonly number[]): void {
  loadRules(withPorts(rulesOf(1).replaceAll("10.200.0.1", gateway), ports), name);
}

function rulesOf(which: number): string {
  const block = RULES[which];
  if (block === undefined) throw new Error(`docs/transparent.md shows no ruleset ${which + 1}`);
  return block.text;
}

function withPorts(rules: string, ports: readonly number[]): string {
  return rules.replace("{ 8443,", `{ ${[...ports, 8443].join(", ")},`);
}

/** Those that make a client trust the CA, and none about proxies. */
export function trusting({ environment }: RealSallyport): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !/proxy/i.test(name)));
}

/** Whether a record has these fields. */
export const found =
  (where: Readonly<Record<string, unknown>>) =>
  (all: readonly AuditRecord[]): boolean =>
    all.some((record) => Object.entries(where).every(([key, value]) => record[key] === value));
