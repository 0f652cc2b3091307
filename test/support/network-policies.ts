// What NetworkPolicies let through, worked out as their API documents it: a pod that some policy selects for a direction gets
// what any of these allows, one that none selects gets everything; both ends must agree.

import { BlockList, isIPv6 } from "node:net";
import type { Manifest } from "./kubernetes.ts";

type Labels = Readonly<Record<string, string>>;
export type Pod = { readonly namespace: string; readonly labels: Labels };
export type End = Pod | { readonly address: string };
export type Flow = {
  readonly from: End;
  readonly to: End;
  readonly port: number;
  readonly protocol?: "TCP" | "UDP";
};

export function createWalls(manifests: readonly Manifest[], namespaces: Readonly<Record<string, Labels>>) {
  const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
  const labelsOf = (name: string): Labels => ({ ...namespaces[name], "kubernetes.io/metadata.name": name });

  function lets(direction: "Ingress" | "Egress", { from, to, port, protocol = "TCP" }: Flow): boolean {
    const [self, other] = direction === "Ingress" ? [to, from] : [from, to];
    if (!("labels" in self)) return true;
    const around = policies.filter(
      ({ metadata, spec }) =>
        metadata.namespace === self.namespace &&
        (spec.policyTypes as string[]).includes(direction) &&
        selects(spec.podSelector, self.labels),
    );
    if (around.length === 0) return true;
    const rules = around.flatMap(({ spec }) => (spec[direction.toLowerCase()] ?? []) as Rule[]);
    return rules.some(
      ({ ports, ...peers }) =>
        (ports?.some((one) => (one.protocol ?? "TCP") === protocol && (one.port ?? port) === port) ?? true) &&
        ((peers.from ?? peers.to)?.some((peer) => isPeer(peer, other)) ?? true),
    );
  }

  function isPeer({ ipBlock, namespaceSelector, podSelector }: Peer, end: End): boolean {
    if (!("labels" in end)) {
      if (ipBlock === undefined) return false;
      return (
        within(ipBlock.cidr, end.address) && !(ipBlock.except ?? []).some((one) => within(one, end.address))
      );
    }
    if (ipBlock !== undefined) return false;
    if (namespaceSelector === undefined)
      throw new Error("a peer of the policy's own namespace is not foreseen");
    return selects(namespaceSelector, labelsOf(end.namespace)) && selects(podSelector ?? {}, end.labels);
  }

  return (flow: Flow): boolean => lets("Egress", flow) && lets("Ingress", flow);
}

type Selector = { readonly matchLabels?: Labels };
type Peer = {
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
  readonly namespaceSelector?: Selector;
  readonly podSelector?: Selector;
};
type Rule = {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly { readonly protocol?: string; readonly port?: number }[];
};

export function selects(selector: Selector, labels: Labels): boolean {
  const { matchLabels = {}, ...more } = selector;
  if (Object.keys(more).length > 0) throw new Error(`not foreseen: ${Object.keys(more).join()}`);
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
}

function within(cidr: string, address: string): boolean {
  const [network = "", bits] = cidr.split("/");
  if (isIPv6(network) !== isIPv6(address)) return false;
  const family = isIPv6(network) ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family);
  return list.check(address, family);
}
