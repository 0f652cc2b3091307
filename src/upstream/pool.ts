// Connections to origins: made to judged addresses only, kept idle for a short while, given out once each. The pool keeps
// to its bounds by closing idle connections, never by making a request wait for another.

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Limits } from "../net/limits.ts";
import { dial, secure } from "./dial.ts";
import type { Origin, Upstream, UpstreamConnection } from "./engine.ts";
import { Http1Client } from "./http1-client.ts";
import type { Resolver } from "./resolve.ts";
import { createSessions } from "./sessions.ts";
import type { Trust } from "./trust.ts";

export type UpstreamEvents = {
  opened(): void;
  reused(): void;
  closed(): void;
  took(step: "dns" | "dial" | "tls", ms: number): void;
  handshake(outcome: "full" | "resumed" | "failed"): void;
};

export type UpstreamOptions = {
  readonly resolver: Resolver;
  readonly trust: Trust;
  readonly limits: Limits;
  readonly on: UpstreamEvents;
};

type Idle = { readonly client: Http1Client; readonly key: string; until: number };

export function createUpstream({ resolver, trust, limits, on }: UpstreamOptions): Upstream {
  const idle = new Map<string, Idle[]>();
  const all = new Set<Http1Client>();
  const sessions = createSessions();
  const { signal } = new AbortController();
  let opening = 0;
  let spliced = 0;
  let closed = false;

  const sweep = setInterval(() => {
    const now = performance.now();
    for (const kept of idle.values()) for (const { client, until } of kept) if (until <= now) client.abort();
  }, SWEEP_MS).unref();

  const timed = async <T>(step: "dns" | "dial" | "tls", work: Promise<T>): Promise<T> => {
    const before = performance.now();
    try {
      return await work;
    } finally {
      on.took(step, performance.now() - before);
    }
  };

  const keep = (client: Http1Client, key: string): void => {
    const kept = idle.get(key) ?? [];
    if (closed || kept.length >= limits.upstreamPerOrigin) return client.abort();
    kept.push({ client, key, until: performance.now() + limits.upstreamIdleMs });
    idle.set(key, kept);
  };

  const forget = (client: Http1Client, key: string): void => {
    on.closed();
    drop(client, key);
  };

  const drop = (client: Http1Client, key: string): void => {
    all.delete(client);
    const kept = idle.get(key)?.filter((entry) => entry.client !== client) ?? [];
    if (kept.length === 0) idle.delete(key);
    else idle.set(key, kept);
  };

  const makeRoom = (): void => {
    if (all.size + opening + spliced < limits.upstreamTotal) return;
    const [oldest] = idle.values();
    if (oldest?.[0] === undefined) throw new ProxyFault("too-many-connections");
    const { client, key } = oldest[0];
    client.abort();
    // At once: until its socket has closed it must not be given up for a second newcomer.
    drop(client, key);
  };

  const open = async (
    { scheme, target }: Origin,
    addresses: readonly Address[],
  ): Promise<[Socket, Address]> => {
    const { connectMs } = limits;
    const dialed = await timed("dial", dial({ addresses, port: target.port, connectMs, signal }));
    if (scheme === "http") return [dialed.socket, dialed.address];
    try {
      const secured = await timed(
        "tls",
        secure({
          socket: dialed.socket,
          host: target.host,
          port: target.port,
          trust,
          alpn: ["http/1.1"],
          sessions,
          handshakeMs: connectMs,
          signal,
        }),
      );
      on.handshake(secured.isSessionReused() ? "resumed" : "full");
      return [secured, dialed.address];
    } catch (fault) {
      on.handshake("failed");
      throw fault;
    }
  };

  return {
    resolve: (host, partition) => timed("dns", resolver.resolve(host, signal, partition)),

    reuse(origin) {
      const kept = idle.get(keyOf(origin));
      for (let entry = kept?.pop(); entry !== undefined; entry = kept?.pop()) {
        if (entry.client.usable && entry.until > performance.now()) {
          on.reused();
          return entry.client;
        }
        entry.client.abort();
      }
      return undefined;
    },

    async connect(origin, addresses): Promise<UpstreamConnection> {
      makeRoom();
      const key = keyOf(origin);
      opening++;
      try {
        const [socket, address] = await open(origin, addresses);
        on.opened();
        const client = new Http1Client({
          socket,
          address,
          limits,
          onIdle: (free) => keep(free, key),
          onClose: (closed) => forget(closed, key),
        });
        all.add(client);
        return client;
      } finally {
        opening--;
      }
    },

    async dial(target: Authority, addresses) {
      makeRoom();
      spliced++;
      try {
        const dialing = dial({ addresses, port: target.port, connectMs: limits.connectMs, signal });
        const dialed = await timed("dial", dialing);
        dialed.socket.once("close", () => spliced--);
        return dialed;
      } catch (fault) {
        spliced--;
        throw fault;
      }
    },

    close() {
      clearInterval(sweep);
      closed = true;
      for (const kept of idle.values()) for (const { client } of kept) client.abort();
    },
  };
}

function keyOf({ scheme, target, partition }: Origin): string {
  return `${partition} ${scheme} ${target.host} ${target.port}`;
}

const SWEEP_MS = 1000;
