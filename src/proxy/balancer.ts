// Whose connection a trusted balancer passes on, by its PROXY header. From a balancer the header must be there, whole and in
// time; nobody else's is believed.

import { performance } from "node:perf_hooks";
import { contains, parseAddress } from "../net/address.ts";
import { type ProxyHeaderRead, readProxyHeader } from "../net/proxy-protocol.ts";
import type { Connection, Peer } from "./connection.ts";
import type { ByteStream } from "./downstream.ts";
import { Ledger } from "./ledger.ts";
import { readOpening } from "./opening.ts";
import type { Parts } from "./parts.ts";

export function isBalancer({ balancers }: Pick<Parts, "balancers">, { address }: Peer): boolean {
  if (balancers.length === 0) return false;
  // As a listener for both families shows IPv4.
  const parsed = parseAddress(address.replace(/^::ffff:(?=\d+\.)/i, ""));
  return parsed !== undefined && balancers.some((network) => contains(network, parsed));
}

/** `undefined`: there is none to be believed; that is recorded, and the connection closed. */
export async function readSource(
  parts: Parts,
  connection: Connection,
  socket: ByteStream,
): Promise<Peer | undefined> {
  const held = { drain: () => void socket.destroy(), destroy: () => void socket.destroy() };
  parts.live.open(held);
  try {
    const read = await readOpening<Whole>(socket, performance.now() + parts.limits.headMs, readProxyHeader);
    if (read.state === "complete") return read.source ?? connection.peer;
    // A balancer that only looks whether anybody is there has nothing refused.
    if (read.state !== "closed") await recordRefusal(parts, connection, read.state);
    socket.destroy();
    return undefined;
  } finally {
    parts.live.close(held);
  }
}

type Whole = ProxyHeaderRead & { readonly state: "complete" };

async function recordRefusal(
  parts: Parts,
  connection: Connection,
  state: "malformed" | "late",
): Promise<void> {
  const reason = state === "late" ? "request-timeout" : "proxy-header-malformed";
  const ledger = new Ledger(parts, "request");
  const subject = { ...connection.subject(parts.published(), undefined), kind: "malformed" } as const;
  try {
    await ledger.decideAgainst(subject, { reason });
  } catch {
    // It is closed either way.
  }
  ledger.complete({ reason, bytesUp: 0, bytesDown: 0 });
}
