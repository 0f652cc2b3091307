// Opens the ways in for clients that know of no proxy: the transparent listeners, and the name servers that lead to them.

import type { Config } from "../config/types.ts";
import { startResponder } from "../proxy/dns.ts";
import { listen, type Listener, type Occupancy } from "../proxy/listener.ts";
import type { Parts } from "../proxy/parts.ts";

export type RedirectsOptions = {
  readonly config: Config;
  readonly parts: Parts;
  readonly occupancy: Occupancy;
  /** Told of every address that must not be dialed (invariant 8). */
  readonly bound: (address: string, port: number) => void;
  /** What was opened, also where the next one fails. */
  readonly transparent: Listener[];
  readonly dns: Listener[];
};

export async function openRedirects(options: RedirectsOptions): Promise<void> {
  const { config, parts, occupancy, bound, transparent, dns } = options;
  for (const { listen: endpoint, port, sandbox } of config.transparent) {
    const listener = await listen(parts, { ...endpoint, occupancy, redirect: { port, sandbox } });
    bound(listener.address, listener.port);
    transparent.push(listener);
  }
  const named = [...new Set(config.transparent.map(({ port }) => port))];
  // Without listeners of its own it leads to somebody else's.
  const ports = named.length === 0 ? USUAL_PORTS : named;
  for (const { listen: endpoint, ...responder } of config.dns) {
    const listener = await startResponder(parts, { ...endpoint, ...responder, ports, occupancy });
    bound(listener.address, listener.port);
    // Where redirection is by these answers or by the packet filter alike, a connection to one of them would come back here.
    for (const address of responder.answer) for (const port of ports) bound(address, port);
    dns.push(listener);
  }
}

const USUAL_PORTS = [443, 80];
