// Where sandboxes connect: every listener and name server that the configuration names, or none.

import type { Config } from "../config/types.ts";
import { startResponder } from "../proxy/dns.ts";
import { listen, Occupancy, type Listener } from "../proxy/listener.ts";
import type { Parts } from "../proxy/parts.ts";
import { removeDeserted } from "../proxy/unix-socket.ts";

export type ListenersOptions = {
  readonly config: Config;
  /** Told of every address that must not be dialed (invariant 8). */
  readonly bound: (address: string, port: number) => void;
  /** Of a worker: before the numbers of connections. */
  readonly prefix?: string;
};

/** Each in the order of the configuration. */
export type Listeners<One = Listener> = {
  readonly proxy: readonly One[];
  readonly transparent: readonly One[];
  readonly dns: readonly One[];
  /** Unix sockets that proxy. */
  readonly sockets: readonly One[];
};

export async function openListeners(parts: Parts, options: ListenersOptions): Promise<Listeners> {
  const { config, bound, prefix } = options;
  const occupancy = new Occupancy(prefix);
  if (prefix === undefined) await removeLeft(config);
  const none = (): Listener[] => [];
  const opened = { proxy: none(), transparent: none(), dns: none(), sockets: none() };
  const keep = (kind: Exclude<keyof typeof opened, "sockets">, listener: Listener): void => {
    bound(listener.address, listener.port);
    opened[kind].push(listener);
  };
  try {
    for (const { sandbox, ...at } of config.listen)
      keep("proxy", await listen(parts, { at, sandbox, occupancy }));
    for (const { sandbox, ...at } of config.sockets)
      opened.sockets.push(await listen(parts, { at, sandbox, occupancy }));
    for (const { listen: at, port, sandbox } of config.transparent)
      keep("transparent", await listen(parts, { at, occupancy, redirect: { port, sandbox } }));
    const named = [...new Set(config.transparent.map(({ port }) => port))];
    // Without listeners of its own it leads to somebody else's.
    const ports = named.length === 0 ? USUAL_PORTS : named;
    for (const { listen: endpoint, ...responder } of config.dns) {
      keep("dns", await startResponder(parts, { ...endpoint, ...responder, ports, occupancy }));
      // Where redirection is by these answers or by the packet filter alike, a connection to one of them would come back here.
      for (const address of responder.answer) for (const port of ports) bound(address, port);
    }
    return opened;
  } catch (error) {
    await Promise.all(allOf(opened).map((listener) => listener.close()));
    throw error;
  }
}

/** Sockets of processes that were killed. With workers it is for their primary to do, before there are any. */
export async function removeLeft({ sockets }: Config): Promise<void> {
  for (const { path } of sockets) await removeDeserted(path);
}

export function allOf<One>({ proxy, transparent, dns, sockets }: Listeners<One>): One[] {
  return [...proxy, ...transparent, ...dns, ...sockets];
}

export const NO_LISTENERS = { proxy: [], transparent: [], dns: [], sockets: [] } as const;

export function addressesOf(listeners: Listeners): Listeners<{ address: string; port: number }> {
  const told = (list: readonly Listener[]) => list.map(({ address, port }) => ({ address, port }));
  const { proxy, transparent, dns, sockets } = listeners;
  return {
    proxy: told(proxy),
    transparent: told(transparent),
    dns: told(dns),
    sockets: told(sockets),
  };
}

const USUAL_PORTS = [443, 80];
