// Connections to origins: made to judged addresses only, kept idle for a short while, given out to one request at a time over
// HTTP/1.1 and shared over HTTP/2. The pool keeps to its bounds by closing idle connections, never by making a request wait.

import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Limits } from "../net/limits.ts";
import { dial, secure } from "./dial.ts";
import type { Origin, Upstream, UpstreamConnection } from "./engine.ts";
import { Http1Client } from "./http1-client.ts";
import { Http2Clients } from "./http2-clients.ts";
import { IdleClients } from "./idle-clients.ts";
import type { Parents, Passage } from "./parents.ts";
import { createProtocols, type Http2Mode, type Offer } from "./protocols.ts";
import type { Resolver } from "./resolve.ts";
import { createSessions } from "./sessions.ts";
import type { Trust } from "./trust.ts";

export type UpstreamEvents = {
  opened(protocol: Offer[number]): void;
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
  readonly http2: Http2Mode;
  readonly on: UpstreamEvents;
};

export function createUpstream({ resolver, parents, trust, limits, http2, on }: UpstreamOptions): Upstream {
  const { timed, reach, open, signal } = opener({ parents, trust, limits, on });
  const protocols = createProtocols(http2);
  const own = http1Clients({ limits, on });
  const shared = new Http2Clients({ limits, on });
  let opening = 0;
  let spliced = 0;

  const makeRoom = (): void => {
    if (own.size + shared.size + opening + spliced < limits.upstreamTotal) return;
    if (!own.closeIdle() && !shared.closeIdle()) throw new ProxyFault("too-many-connections");
  };

  const connect = async (origin: Origin, addresses: readonly Address[], offer: Offer) => {
    makeRoom();
    opening++;
    try {
      const [socket, address] = await open(origin, addresses, offer).catch((fault: unknown) => {
        const other = protocols.otherwise(origin, offer, fault);
        if (other === undefined) throw fault;
        return open(origin, addresses, other);
      });
      on.opened(speaksHttp2(socket) ? "h2" : "http/1.1");
      const key = keyOf(origin, protocols.offer(origin));
      if (!speaksHttp2(socket)) return own.open(socket, address, key);
      const onHttp1Required = (): void => protocols.http1Required(origin);
      return await shared.open({ socket, address, key, onHttp1Required });
    } finally {
      opening--;
    }
  };

  return {
    resolve: (host, partition) => timed("dns", resolver.resolve(host, signal, partition)),

    through: (target) => parents?.through(target),

    reuse(origin) {
      const offer = protocols.offer(origin);
      const key = keyOf(origin, offer);
      const client = (offer.includes("h2") ? shared.take(key) : undefined) ?? own.take(key);
      if (client !== undefined) on.reused();
      return client;
    },

    connect(origin, addresses) {
      const offer = protocols.offer(origin);
      if (!offer.includes("h2")) return connect(origin, addresses, offer);
      return shared.connect(keyOf(origin, offer), addresses, () => connect(origin, addresses, offer));
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

    drop(partition) {
      const concerned = (key: string): boolean => partition === undefined || key.startsWith(`${partition} `);
      own.drop(concerned);
      shared.drop(concerned);
    },

    close() {
      own.close();
      shared.close();
    },
  };
}

/** HTTP/1.1 connections: one exchange at a time, kept idle in between. */
function http1Clients({ limits, on }: Pick<UpstreamOptions, "limits" | "on">) {
  const all = new Set<Http1Client>();
  const idle = new IdleClients({ perOrigin: limits.upstreamPerOrigin, idleMs: limits.upstreamIdleMs });

  const gone = (client: Http1Client, key: string): void => {
    all.delete(client);
    idle.drop(client, key);
  };

  return {
    get size() {
      return all.size;
    },
    open(socket: Socket, address: Address | undefined, key: string): UpstreamConnection {
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
    },
    take: (key: string) => idle.take(key),
    closeIdle(): boolean {
      const oldest = idle.oldest();
      if (oldest === undefined) return false;
      oldest.client.abort();
      // At once: until its socket has closed it must not be given up for a second newcomer.
      gone(oldest.client, oldest.key);
      return true;
    },
    drop: (concerned: (key: string) => boolean) => idle.end(concerned),
    close: () => idle.close(),
  };
}

/** Dials and secures a connection of its own, and says how long each step took. */
function opener(
  options: Omit<UpstreamOptions, "resolver" | "parents" | "http2"> & { parents: Parents | undefined },
) {
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
    alpn: Offer,
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
          alpn,
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

function speaksHttp2(socket: Socket): socket is TLSSocket {
  return socket instanceof TLSSocket && socket.alpnProtocol === "h2";
}

/** An origin's answer to one offer is no answer to another. */
function keyOf(origin: Origin, offer: Offer): string {
  const known = KEYS.get(origin);
  if (known?.offer === offer) return known.key;
  const { scheme, target, partition } = origin;
  const key = `${partition} ${scheme} ${target.host} ${target.port} ${offer.join()}`;
  KEYS.set(origin, { offer, key });
  return key;
}

/** Made once for all requests of a connection that go to one origin. */
const KEYS = new WeakMap<Origin, { readonly offer: Offer; readonly key: string }>();
