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
import { IdleClients } from "./idle-clients.ts";
import type { Parents, Passage } from "./parents.ts";
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
  readonly resolver: Pick<Resolver, "resolve">;
  /** Absent: every origin is connected to straight. */
  readonly parents?: Parents;
  readonly trust: Trust;
  readonly limits: Limits;
  readonly on: UpstreamEvents;
};

export function createUpstream({ resolver, parents, trust, limits, on }: UpstreamOptions): Upstream {
  const all = new Set<Http1Client>();
  const { timed, reach, open, signal } = opener({ parents, trust, limits, on });
  let opening = 0;
  let spliced = 0;
  const idle = new IdleClients({ perOrigin: limits.upstreamPerOrigin, idleMs: limits.upstreamIdleMs });

  const gone = (client: Http1Client, key: string): void => {
    all.delete(client);
    idle.drop(client, key);
  };

  const makeRoom = (): void => {
    if (all.size + opening + spliced < limits.upstreamTotal) return;
    const oldest = idle.oldest();
    if (oldest === undefined) throw new ProxyFault("too-many-connections");
    oldest.client.abort();
    // At once: until its socket has closed it must not be given up for a second newcomer.
    gone(oldest.client, oldest.key);
  };

  return {
    resolve: (host, partition) => timed("dns", resolver.resolve(host, signal, partition)),

    through: (target) => parents?.through(target),

    reuse(origin) {
      const client = idle.take(keyOf(origin));
      if (client !== undefined) on.reused();
      return client;
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
          onIdle: (free) => idle.keep(free, key),
          onClose: (closed) => {
            on.closed();
            gone(closed, key);
          },
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
        const dialed = await reach(target, addresses);
        dialed.socket.once("close", () => spliced--);
        return dialed;
      } catch (fault) {
        spliced--;
        throw fault;
      }
    },

    close: () => idle.close(),
  };
}

/** Dials and secures a connection of its own, and says how long each step took. */
function opener(options: Omit<UpstreamOptions, "resolver" | "parents"> & { parents: Parents | undefined }) {
  const { parents, trust, on } = options;
  const { connectMs } = options.limits;
  const sessions = createSessions();
  const { signal } = new AbortController();

  const timed = async <T>(step: "dns" | "dial" | "tls", work: Promise<T>): Promise<T> => {
    const before = performance.now();
    try {
      return await work;
    } finally {
      on.took(step, performance.now() - before);
    }
  };

  const reach = (target: Authority, addresses: readonly Address[]): Promise<Passage> =>
    timed(
      "dial",
      parents?.open(target, addresses) ?? dial({ addresses, port: target.port, connectMs, signal }),
    );

  const open = async (
    { scheme, target }: Origin,
    addresses: readonly Address[],
  ): Promise<[Socket, Address | undefined]> => {
    const dialed = await reach(target, addresses);
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

  return { timed, reach, open, signal };
}

function keyOf({ scheme, target, partition }: Origin): string {
  return `${partition} ${scheme} ${target.host} ${target.port}`;
}
