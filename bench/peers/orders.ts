// What the load is told unless a scenario says otherwise.

import type { Lab } from "./lab.ts";
import type { Orders } from "./load.ts";
import type { Running } from "./peer.ts";

/** The octets of a body either way that a request of the scenario moves. */
export function octetsOf({ path = "", body = 0 }: Partial<Orders>): number {
  return body + Number(/^\/b\/(\d+)$/.exec(path)?.[1] ?? 0);
}

export function ordersFor(lab: Lab, running: Running, more: Partial<Orders>): Orders {
  const { proxy, via, trusted } = running;
  return {
    via,
    proxy,
    trusted,
    host: "origin.test",
    port: more.via === "plain" ? lab.origin.plain : lab.origin.secured,
    method: "GET",
    path: "/b/1024",
    status: 200,
    connections: 32,
    requests: 10_000_000,
    seconds: 3,
    ...more,
  };
}
