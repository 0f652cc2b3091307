// Through parent proxies: to each the guarded way (resolved, judged, verified), from each a tunnel to the address that was
// judged. One that fails is a fault: nothing falls back to another parent, to the name, or to going straight (invariant 4).

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import { type Authority, formatAuthority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import type { Limits } from "../net/limits.ts";
import type { ProxyUrl } from "../net/proxy-url.ts";
import type { Reason } from "../net/reasons.ts";
import { admitParent } from "../policy/parent.ts";
import type { AddressFacts } from "../policy/types.ts";
import { dial, secure } from "./dial.ts";
import type { Through } from "./engine.ts";
import { upstreamFault } from "./faults.ts";
import { createRouter, type ParentRoutes } from "./parent-routes.ts";
import { openTunnel, ParentRefusal } from "./parent-tunnel.ts";
import type { Resolver } from "./resolve.ts";
import { createSessions } from "./sessions.ts";
import type { Trust } from "./trust.ts";

export type Parent = ProxyUrl & {
  /** What it is told to connect to: the address that was judged here, or the name, which then nobody here can judge. */
  readonly address: "judged" | "name";
  /** What its own TLS is verified against. */
  readonly trust: Trust;
};

export type ParentsOptions = ParentRoutes<Parent> & {
  readonly resolver: Resolver;
  readonly limits: Limits;
  /** Where this proxy itself listens. */
  readonly own: () => AddressFacts["own"];
  /** Names of this machine: resolved here, whatever a parent would make of them. */
  readonly ownNames: readonly string[];
};

/** `address` is the origin's; `undefined` where the parent was told its name. */
export type Passage = { readonly socket: Socket; readonly address: Address | undefined };

export type Parents = {
  /** `undefined`: straight. */
  through(target: Authority): Through | undefined;
  /** A tunnel to the target; `addresses` were judged. `undefined`: no parent is in the way. */
  open(target: Authority, addresses: readonly Address[]): Promise<Passage> | undefined;
};

export function createParents({ resolver, limits, own, ownNames, ...routes }: ParentsOptions): Parents {
  const router = createRouter(routes);
  const sessions = createSessions();
  const { signal } = new AbortController();

  const find = async (host: Host, ms: number): Promise<readonly Address[]> => {
    const asking = new AbortController();
    const late = setTimeout(() => asking.abort(new ProxyFault("dns-timeout")), ms);
    try {
      return await resolver.resolve(host, asking.signal, "parent proxy");
    } finally {
      clearTimeout(late);
    }
  };

  const reach = async (parent: Parent, left: () => number): Promise<Socket> => {
    const { host, port, trust } = parent;
    const addresses = admitParent(parent, await find(host, left()), own());
    if (addresses.length === 0) throw new ProxyFault("parent-prohibited");
    const { socket } = await dial({ addresses, port, connectMs: left(), signal });
    if (!parent.secure) return socket;
    const handshakeMs = left();
    return secure({ socket, host, port, trust, alpn: ["http/1.1"], sessions, handshakeMs, signal });
  };

  const attempt = async (parent: Parent, target: Authority, ms: number): Promise<Socket> => {
    const until = performance.now() + ms;
    const left = (): number => Math.max(1, until - performance.now());
    const socket = await reach(parent, left).catch((error: unknown) => {
      throw new Unreached(error);
    });
    return openTunnel({ socket, target, credentials: parent.credentials, limits, ms: left(), signal });
  };

  const open = async (parent: Parent, target: Authority, addresses: readonly Address[]): Promise<Passage> => {
    const until = performance.now() + limits.connectMs;
    const tries = triesOf(parent, target, addresses);
    for (const [at, { address, authority }] of tries.entries()) {
      const more = tries.length - at;
      try {
        return { socket: await attempt(parent, authority, (until - performance.now()) / more), address };
      } catch (error) {
        if (more === 1 || !mayHelpToTryAnother(error)) throw parentFault(error);
      }
    }
    // Nothing was judged, and the name is not to be told.
    throw new ProxyFault("internal-error");
  };

  return {
    through: (target) => {
      const parent = router(target);
      if (parent === undefined) return undefined;
      const { host } = target;
      const known = (): boolean => ownNames.includes(host) || resolver.known(host) !== undefined;
      return { parent: formatAuthority(parent), unresolved: parent.address === "name" && !known() };
    },
    open: (target, addresses) => {
      const parent = router(target);
      return parent === undefined ? undefined : open(parent, target, addresses);
    },
  };
}

type Try = { readonly address: Address | undefined; readonly authority: Authority };

/** IPv4 first: what a parent can reach is not known, and IPv4 is what every one can. */
function triesOf(parent: Parent, target: Authority, addresses: readonly Address[]): Try[] {
  const { port } = target;
  if (addresses.length === 0)
    return parent.address === "name" ? [{ address: undefined, authority: target }] : [];
  return addresses
    .toSorted((a, b) => Number(a.includes(":")) - Number(b.includes(":")))
    .slice(0, MAX_TRIES)
    .map((address) => ({ address, authority: { host: address as string as Host, port } }));
}

/** It was the way to the parent that failed. */
class Unreached extends Error {
  constructor(cause: unknown) {
    super("the parent proxy cannot be reached", { cause });
    this.name = "Unreached";
  }
}

/** The parent could not connect to one address, or not in time; it may to another one of the same name. */
function mayHelpToTryAnother(error: unknown): boolean {
  if (!(error instanceof ProxyFault)) return false;
  if (error.reason === "upstream-timeout") return true;
  return error.cause instanceof ParentRefusal && error.cause.status >= 500;
}

/** What the way to an origin is told by, of the way to a parent. */
function parentFault(error: unknown): ProxyFault {
  const fault = upstreamFault(error instanceof Unreached ? error.cause : error);
  const reason = fault.reason.startsWith("certificate-") ? "parent-untrusted" : AS_PARENT[fault.reason];
  return reason === undefined ? fault : new ProxyFault(reason, fault);
}

const AS_PARENT: Readonly<Partial<Record<Reason, Reason>>> = {
  "dns-not-found": "parent-unreachable",
  "dns-failed": "parent-unreachable",
  "dns-timeout": "parent-timeout",
  "upstream-refused": "parent-unreachable",
  "upstream-unreachable": "parent-unreachable",
  "upstream-reset": "parent-unreachable",
  "upstream-timeout": "parent-timeout",
  "upstream-tls-failed": "parent-untrusted",
  "upstream-malformed": "parent-malformed",
  "upstream-head-too-large": "parent-malformed",
};
const MAX_TRIES = 4;
