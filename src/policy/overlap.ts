// How two host patterns lie to each other, for findings at load. Verdicts never depend on it.

import type { Network } from "../net/address.ts";
import type { HostPattern } from "./pattern.ts";

type Below = HostPattern & { readonly kind: "below" };
type Label = HostPattern & { readonly kind: "label" };

/** Whether some host matches both. */
export function overlap(a: HostPattern, b: HostPattern): boolean {
  if (holds(a, b) || holds(b, a)) return true;
  if (a.kind === "label" && b.kind === "label") return labelsMeet(a, b);
  if (a.kind === "below" && b.kind === "below") return a.parent === b.parent;
  if (a.kind === "below" && b.kind === "label") return a.self && fits(a.parent, b);
  return a.kind === "label" && b.kind === "below" && b.self && fits(b.parent, a);
}

/** Whether every host that matches `inner` matches `outer`. */
export function holds(outer: HostPattern, inner: HostPattern): boolean {
  switch (outer.kind) {
    case "name":
      return inner.kind === "name" && inner.host === outer.host;
    case "below":
      return isBelow(outer, inner);
    case "label":
      if (inner.kind === "name") return fits(inner.host, outer);
      return (
        inner.kind === "label" &&
        inner.parent === outer.parent &&
        inner.prefix.startsWith(outer.prefix) &&
        inner.suffix.endsWith(outer.suffix)
      );
    case "network":
      return inner.kind === "network" && isWithin(outer.network, inner.network);
  }
}

function isBelow(outer: Below, inner: HostPattern): boolean {
  if (inner.kind === "network") return false;
  if (inner.kind === "name") {
    return (outer.self && inner.host === outer.parent) || inner.host.endsWith(`.${outer.parent}`);
  }
  if (inner.parent !== outer.parent) return inner.parent.endsWith(`.${outer.parent}`);
  return inner.kind === "label" || outer.self || !inner.self;
}

function fits(host: string, { parent, prefix, suffix }: Label): boolean {
  const label = host.slice(0, Math.max(0, host.indexOf(".")));
  return (
    host === `${label}.${parent}` &&
    label.length >= prefix.length + suffix.length &&
    label.startsWith(prefix) &&
    label.endsWith(suffix)
  );
}

function labelsMeet(a: Label, b: Label): boolean {
  return (
    a.parent === b.parent &&
    (a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix)) &&
    (a.suffix.endsWith(b.suffix) || b.suffix.endsWith(a.suffix))
  );
}

function isWithin(outer: Network, inner: Network): boolean {
  if (outer.bytes.length !== inner.bytes.length || outer.prefix > inner.prefix) return false;
  return outer.bytes.every((octet, at) => {
    const kept = Math.min(8, Math.max(0, outer.prefix - at * 8));
    return ((octet ^ inner.bytes[at]!) & (0xff << (8 - kept)) & 0xff) === 0;
  });
}
