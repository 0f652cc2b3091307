// The address guard where a parent proxy stands between: which of the parent's own addresses may be dialed, and what can
// still be said of a name that only the parent resolves.

import { classify, type Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { isAddressLiteral, type Host } from "../net/host.ts";
import type { Admission } from "./admit.ts";
import { isOwn } from "./admit.ts";
import { hostAboveCeiling, unknownAboveCeiling } from "./ceiling.ts";
import type { Snapshot } from "./compile.ts";
import type { AddressFacts } from "./types.ts";
import { lockedDown, refuse, unknownPolicy } from "./verdict.ts";

/**
 * Of a parent's addresses those that may be dialed. The operator named it, and so it may be private; never this proxy itself,
 * nor what no proxy has: metadata services, groups, the unspecified address, and IPv4 in disguise.
 */
export function admitParent(
  parent: Authority,
  addresses: readonly Address[],
  own: AddressFacts["own"],
): readonly Address[] {
  return addresses.filter((address) => {
    const kind = classify(address);
    return !isOwn(address, kind, { own, target: parent }) && !NO_PROXY.has(kind);
  });
}

/** A name whose addresses nobody here knows: what it can be told by is its text. It is no literal, or it would be judged as one. */
export function admitName(
  { policies, ceilings }: Snapshot,
  { policy, standing, target }: Pick<AddressFacts, "policy" | "standing" | "target">,
): Admission {
  const compiled = policies.get(policy);
  const locked = lockedDown(compiled?.policy, standing, undefined);
  if (locked !== undefined) return locked;
  if (compiled === undefined) return unknownPolicy(policy, undefined);
  const above = hostAboveCeiling(ceilings, target.host) ?? unknownAboveCeiling(ceilings);
  if (above !== undefined) return refuse(compiled.policy, above);
  const reason = isAddressLiteral(target.host) ? "address-literal" : reasonAgainst(target.host);
  if (reason !== undefined) return refuse(compiled.policy, { reason, rule: undefined });
  return { action: "allow", pinned: [] };
}

function reasonAgainst(host: Host): "address-loopback" | "address-metadata" | undefined {
  const below = (zone: string): boolean => host === zone || host.endsWith(`.${zone}`);
  if (LOOPBACK_NAMES.some(below)) return "address-loopback";
  return METADATA_NAMES.some(below) ? "address-metadata" : undefined;
}

const NO_PROXY: ReadonlySet<string> = new Set(["metadata", "multicast", "reserved", "embedded"]);
/** RFC 6761 §6.3, and what hosts files of common systems call the same addresses. */
const LOOPBACK_NAMES = [
  "localhost",
  "localdomain",
  "localhost6",
  "ip6-localhost",
  "ip6-loopback",
  "loopback",
];
/** By which cloud machines find their metadata service, and names that others publish for its address. */
const METADATA_NAMES = [
  "metadata",
  "metadata.google.internal",
  "metadata.goog",
  "instance-data",
  "instance-data.ec2.internal",
  "metadata.tencentyun.com",
  "metadata.platformequinix.com",
  "metadata.azure.internal",
];
