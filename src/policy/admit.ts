// The address guard: which of the addresses that a name resolved to may be dialed. It is asked after `decide`, about
// every address, and nothing lifts it but a network that a rule names, never one that is always denied; report-only does not.

import { classify, contains, type Address, type AddressClass } from "../net/address.ts";
import type { Host } from "../net/host.ts";
import type { Reason } from "../net/reasons.ts";
import { addressAboveCeiling, type Ceiling, hostAboveCeiling, unknownAboveCeiling } from "./ceiling.ts";
import type { CompiledPolicy, Snapshot } from "./compile.ts";
import { inOrder, isForPort, isNarrow, isVoid } from "./rules.ts";
import type { AddressFacts, Denial, Deny, Network } from "./types.ts";
import { lockedDown, refuse, type Step, unknownPolicy, type Trace } from "./verdict.ts";

export type Admission = { readonly action: "allow"; readonly pinned: readonly Address[] } | Deny;

/** At least one address must be given; those that pass are pinned in the order given. */
export function admit(snapshot: Snapshot, facts: AddressFacts, trace?: Trace): Admission {
  const compiled = snapshot.policies.get(facts.policy);
  const locked = lockedDown(compiled?.policy, facts.standing, trace);
  if (locked !== undefined) return locked;
  if (compiled === undefined) return unknownPolicy(facts.policy, trace);
  const { ceilings } = snapshot;
  const above = hostAboveCeiling(ceilings, facts.target.host, trace);
  if (above !== undefined) return refuse(compiled.policy, above);
  const networks = networksFor(compiled, facts);
  const pinned: Address[] = [];
  let first: Denial | undefined;
  for (const address of facts.addresses) {
    const denial = bar({ compiled, facts, address, networks, ceilings });
    trace?.(stepOf(address, denial));
    if (denial === undefined) pinned.push(address);
    else first ??= denial;
  }
  if (pinned.length > 0) return { action: "allow", pinned };
  return refuse(compiled.policy, first ?? { reason: "address-reserved", rule: undefined });
}

function stepOf(address: Address, denial: Denial | undefined): Step {
  return {
    name: "address",
    outcome: denial === undefined ? "allow" : "deny",
    rule: denial?.rule,
    because: `${address}: ${denial?.reason ?? "may be dialed"}`,
  };
}

/**
 * Networks that an allow rule for this host and port names; methods and paths don't matter to where a name leads. A raw
 * tunnel goes by tcp rules alone, and nothing else goes by them.
 */
function networksFor({ hosts }: CompiledPolicy, { target, at, tcp }: AddressFacts): readonly Network[] {
  let networks = NO_NETWORKS;
  for (const rule of inOrder(hosts.find(target.host), tcp === true ? "tcp" : "allow")) {
    if (rule.networks.length === 0 || isVoid(rule, at) || !isForPort(rule, target.port)) continue;
    networks = networks.length === 0 ? rule.networks : [...networks, ...rule.networks];
  }
  return networks;
}

/** What bars this address, if anything does. */
function bar(of: {
  readonly compiled: CompiledPolicy;
  readonly facts: AddressFacts;
  readonly address: Address;
  readonly networks: readonly Network[];
  readonly ceilings: readonly Ceiling[];
}): Denial | undefined {
  const { compiled, facts, address, networks, ceilings } = of;
  const { target, at } = facts;
  const above = addressAboveCeiling(ceilings, address);
  if (above !== undefined) return above;
  // An address is a host too: in its canonical text, as a deny rule for a network means it.
  const rule = inOrder(compiled.hosts.find(address as string as Host), "deny").find(
    (rule) => !isVoid(rule, at) && isForPort(rule, target.port) && !isNarrow(rule),
  );
  if (rule !== undefined) return { reason: "host-denied", rule: rule.ref };
  const kind = classify(address);
  if (isOwn(address, kind, facts)) return { reason: "address-own", rule: undefined };
  if (kind === "public") return undefined;
  const lifted = networks.some((network) => contains(network, address) && mayLift(network, kind));
  if (!lifted) return { reason: REASON_OF[kind], rule: undefined };
  return kind === "embedded" ? unknownAboveCeiling(ceilings) : undefined;
}

/**
 * Invariant 8. To listen on one loopback address is taken to be reached by all of them, and by what the kernel or a
 * translator takes there: the unspecified address, IPv4 inside IPv6.
 */
export function isOwn(
  address: Address,
  kind: AddressClass,
  { own, target }: Pick<AddressFacts, "own" | "target">,
): boolean {
  const sameAsLoopback = kind === "loopback" || kind === "reserved" || kind === "embedded";
  return own.some(
    (listener) =>
      listener.port === target.port &&
      (listener.address === address || (sameAsLoopback && classify(listener.address) === "loopback")),
  );
}

/**
 * A broad network must not open what nobody thought of: a metadata address is lifted by /24 (IPv6: /64) or
 * narrower, an embedded IPv4 address by the /120 around it or narrower.
 */
function mayLift(network: Network, kind: AddressClass): boolean {
  if (kind === "metadata") return network.prefix >= (network.bytes.length === 4 ? 24 : 64);
  return kind !== "embedded" || network.prefix >= 120;
}

const NO_NETWORKS: readonly Network[] = [];
const REASON_OF = {
  loopback: "address-loopback",
  private: "address-private",
  "link-local": "address-link-local",
  metadata: "address-metadata",
  cgnat: "address-cgnat",
  multicast: "address-multicast",
  reserved: "address-reserved",
  embedded: "address-embedded",
} as const satisfies Record<Exclude<AddressClass, "public">, Reason>;
