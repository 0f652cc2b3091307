// The way to an origin: an idle connection whose address is judged again, or addresses resolved once and judged.

import { performance } from "node:perf_hooks";
import type { Sandbox } from "../identity/identify.ts";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { admit } from "../policy/decide.ts";
import { admitName } from "../policy/parent.ts";
import type { Deny } from "../policy/types.ts";
import type { Origin, Through, UpstreamConnection } from "../upstream/engine.ts";
import { type Connection, shareOf } from "./connection.ts";
import type { Parts, Published } from "./parts.ts";

export type Route = {
  readonly action: "allow";
  readonly origin: Origin;
  /** Those that may be dialed; none where the parent proxy resolves the name. */
  readonly addresses: readonly Address[];
  readonly through: Through | undefined;
  readonly idle: UpstreamConnection | undefined;
};

export type RouteQuery = {
  readonly published: Published;
  readonly sandbox: Sandbox;
  readonly connection: Connection;
  readonly scheme: "http" | "https";
  readonly target: Authority;
  /** Whether an idle connection will do. */
  readonly reuse: boolean;
  readonly by: Origin["by"];
  /** For a raw TCP tunnel: its rules say which networks it may lead to. */
  readonly tcp?: boolean;
};

/** `ms`: spent on asking for addresses. */
type Found = (Route | Deny) & { readonly ms: number };

/** At once, where nobody need be asked. */
export function findRoute(parts: Parts, query: RouteQuery): Found | Promise<Found> {
  const { published, sandbox, connection, scheme, target, reuse, by } = query;
  const origin = connection.origin(sandbox, { scheme, target, by });
  const { upstream } = published;
  const through = upstream.through(target);
  const idle = reuse ? fit(upstream.reuse(origin), through) : undefined;
  if (idle !== undefined || through?.unresolved === true) {
    const addresses = idle?.address === undefined ? undefined : [idle.address];
    return judged(parts, query, { origin, through, idle, addresses, ms: 0 });
  }
  const before = performance.now();
  return upstream.resolve(target.host, shareOf(sandbox, connection.peer)).then((addresses) => {
    return judged(parts, query, { origin, through, idle, addresses, ms: performance.now() - before });
  });
}

type Way = Pick<Route, "origin" | "through" | "idle"> & {
  /** `undefined`: known to the parent proxy alone. */
  readonly addresses: readonly Address[] | undefined;
  readonly ms: number;
};

function judged(
  parts: Parts,
  { published, sandbox, target, tcp = false }: RouteQuery,
  { origin, through, idle, addresses, ms }: Way,
): Found {
  const { snapshot } = published;
  const { policy, standing } = sandbox;
  const verdict =
    addresses === undefined
      ? admitName(snapshot, { policy, standing, target })
      : admit(snapshot, {
          stage: "address",
          policy,
          standing,
          at: parts.now(),
          target,
          addresses,
          own: parts.own(),
          tcp,
        });
  if (verdict.action === "deny") {
    idle?.abort();
    return { ...verdict, ms };
  }
  return { action: "allow", origin, addresses: verdict.pinned, through, idle, ms };
}

/** One whose address nobody knows serves only while names are the parent proxy's to resolve. */
function fit(
  idle: UpstreamConnection | undefined,
  through: Through | undefined,
): UpstreamConnection | undefined {
  if (idle === undefined || idle.address !== undefined || through?.unresolved === true) return idle;
  idle.abort();
  return undefined;
}
