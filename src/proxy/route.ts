// The way to an origin: an idle connection whose address is judged again, or addresses resolved once and judged.

import { performance } from "node:perf_hooks";
import type { Sandbox } from "../identity/identify.ts";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { admit } from "../policy/decide.ts";
import type { Deny } from "../policy/types.ts";
import type { Origin, UpstreamConnection } from "../upstream/engine.ts";
import { type Peer, shareOf } from "./connection.ts";
import type { Parts, Published } from "./parts.ts";

export type Route = {
  readonly action: "allow";
  readonly origin: Origin;
  /** Those that may be dialed. */
  readonly addresses: readonly Address[];
  readonly idle: UpstreamConnection | undefined;
};

export type RouteQuery = {
  readonly published: Published;
  readonly sandbox: Sandbox;
  readonly peer: Peer;
  readonly scheme: "http" | "https";
  readonly target: Authority;
  /** Whether an idle connection will do. */
  readonly reuse: boolean;
  /** For a raw TCP tunnel: its rules say which networks it may lead to. */
  readonly tcp?: boolean;
};

/** `ms`: spent on asking for addresses. */
export async function findRoute(
  parts: Parts,
  { published, sandbox, peer, scheme, target, reuse, tcp = false }: RouteQuery,
): Promise<(Route | Deny) & { readonly ms: number }> {
  const origin: Origin = { scheme, target, partition: shareOf(sandbox, peer) };
  const idle = reuse ? published.upstream.reuse(origin) : undefined;
  const before = performance.now();
  const resolved =
    idle === undefined ? await published.upstream.resolve(target.host, origin.partition) : [idle.address];
  const ms = idle === undefined ? performance.now() - before : 0;
  const verdict = admit(published.snapshot, {
    stage: "address",
    policy: sandbox.policy,
    at: parts.now(),
    target,
    addresses: resolved,
    own: parts.own(),
    tcp,
  });
  if (verdict.action === "deny") {
    idle?.abort();
    return { ...verdict, ms };
  }
  return { action: "allow", origin, addresses: verdict.pinned, idle, ms };
}
