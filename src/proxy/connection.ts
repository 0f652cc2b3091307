// Who is at the other end of a connection, and what its requests can rely on: the tunnel they run in, if any, and the
// sandbox that its credentials name.

import type { Subject } from "../audit/types.ts";
import type { Identified, Place, Sandbox } from "../identity/identify.ts";
import { type Authority, sameAuthority } from "../net/authority.ts";
import { all, type HeaderPairs } from "../net/headers.ts";
import type { Origin } from "../upstream/engine.ts";
import { isBalancer } from "./balancer.ts";
import type { Parts, Published } from "./parts.ts";

export type Tunnel = {
  readonly target: Authority;
  /** The same as a Host field has it. */
  readonly named: string;
  /** Audit id of its CONNECT. */
  readonly id: string;
  /** What the requests inside are without a scheme of their own. */
  readonly scheme: "http" | "https";
  /** The CONNECT's fields: its credentials hold for what runs inside. */
  readonly headers: HeaderPairs;
};

/** Still to be filled in. */
export type Draft<T> = { -readonly [K in keyof T]: T[K] };
/** How a connection came that was led here unasked: its sandbox knows of no proxy, so the listener says who it is. */
export type Redirect = {
  /** The port that it was meant for. */
  readonly port: number;
  readonly sandbox: string | undefined;
};

/** What is known of a connection besides who is at its other end. */
type Circumstances = {
  /** Id of the sandbox that its listener is for alone. */
  readonly listener?: string | undefined;
  readonly tunnel?: Tunnel | undefined;
  readonly redirect?: Redirect | undefined;
  /** Names in the client certificate that was shown and verified. */
  readonly certificate?: readonly string[] | undefined;
};

/** Of a Unix socket: `unix:` and its path, and no port. */
export type Peer = { readonly address: string; readonly port: number };

/** Who shares what is shared out or kept apart: a sandbox, or where nobody says who they are, an address. */
export function shareOf(sandbox: Sandbox, { address }: Peer): string {
  return sandbox.id === undefined ? address : `id ${sandbox.id}`;
}

export class Connection {
  readonly id: string;
  readonly peer: Peer;
  readonly tunnel: Tunnel | undefined;
  readonly listener: string | undefined;
  /** Made once for what runs in its tunnel too. */
  #source: string;
  readonly #tunnelCredentials: string | undefined;
  readonly redirect: Redirect | undefined;
  /** Names in the client certificate that was shown and verified; `undefined`: none was. */
  readonly certificate: readonly string[] | undefined;
  #known:
    | { readonly revision: number; readonly credentials: string | undefined; readonly who: Identified }
    | undefined;

  #origin: { readonly sandbox: Sandbox; readonly origin: Origin } | undefined;

  constructor(id: string, peer: Peer, circumstances: Circumstances = {}) {
    const { listener, tunnel, redirect, certificate } = circumstances;
    this.listener = listener;
    this.id = id;
    this.peer = peer;
    this.tunnel = tunnel;
    this.#source = formatPeer(peer);
    this.#tunnelCredentials = tunnel && credentialsIn(tunnel.headers);
    this.redirect = redirect;
    this.certificate = certificate;
  }

  /** The same sandbox in the tunnel that it opened: what is known of its credentials stays known. */
  inside(tunnel: Tunnel): Connection {
    const { listener, redirect, certificate } = this;
    const inner = new Connection(this.id, this.peer, { listener, tunnel, redirect, certificate });
    inner.#known = this.#known;
    inner.#source = this.#source;
    return inner;
  }

  /** The same connection, whose peer showed a certificate, or is told of by a balancer. */
  but({ certificate, peer }: { certificate?: readonly string[] | undefined; peer?: Peer }): Connection {
    const { listener, redirect } = this;
    return new Connection(this.id, peer ?? this.peer, { listener, redirect, certificate });
  }

  /** Checked anew whenever the configuration or the field's value differs from the last request's; guessing is slowed. */
  identify(parts: Parts, published: Published, headers: HeaderPairs): Identified {
    // Nothing that is said on such a connection makes it somebody else's.
    if (this.redirect !== undefined) return this.#identifyByPlace(parts, published);
    const credentials = this.tunnel === undefined ? credentialsIn(headers) : this.#tunnelCredentials;
    const known = this.#known?.credentials === credentials ? this.#known : undefined;
    if (known?.revision === published.revision) return known.who;
    // Credentials that were right are no guess: others' guesses from this source do not end what they began.
    const guess = credentials !== undefined && known?.who.ok !== true;
    const { guesses, now } = parts;
    // Not remembered: once the wait is over they are looked at.
    if (guess && guesses.waitMs(this.peer.address, now()) > 0) return NOT_LOOKED_AT;
    const who = published.identifier.identify(
      this.tunnel?.headers ?? headers,
      this.certificate,
      this.#place(parts, this.listener),
    );
    if (guess && !who.ok) guesses.failure(this.peer.address, now());
    this.#known = { revision: published.revision, credentials, who };
    return who;
  }

  /** Where nothing that is said on it counts; `listener`: the sandbox that it is for, if it says so. */
  identifyByPlace(
    parts: Pick<Parts, "balancers">,
    { identifier }: Published,
    listener: string | undefined,
  ): Identified {
    return identifier.placed(this.#place(parts, listener));
  }

  #identifyByPlace(parts: Parts, published: Published): Identified {
    const { revision } = published;
    if (this.#known?.revision !== revision) {
      const who = this.identifyByPlace(parts, published, this.redirect?.sandbox);
      this.#known = { revision, credentials: undefined, who };
    }
    return this.#known.who;
  }

  /** A balancer that does not say whose connection it passes on is nobody's source. */
  #place(parts: Pick<Parts, "balancers">, listener: string | undefined): Place {
    return { listener, source: isBalancer(parts, this.peer) ? undefined : this.peer.address };
  }

  /** Whose connection to an origin may serve; the same object as long as it is the same, so that it is known again. */
  origin(sandbox: Sandbox, { scheme, target, by }: Omit<Origin, "partition">): Origin {
    const last = this.#origin;
    if (
      last?.sandbox === sandbox &&
      last.origin.scheme === scheme &&
      last.origin.by === by &&
      sameAuthority(last.origin.target, target)
    )
      return last.origin;
    // A connection that was opened in another phase, or under another policy, is not used in this one.
    const partition = `${shareOf(sandbox, this.peer)} ${sandbox.phase} ${sandbox.policy}`;
    const origin = { scheme, target, partition, by };
    this.#origin = { sandbox, origin };
    return origin;
  }

  /** What is known of any record about this connection. */
  subject(published: Published, who: Identified | undefined): Draft<Subject> {
    const sandbox = who?.ok === true ? who.sandbox : undefined;
    return {
      kind: "request",
      tunnel: this.tunnel?.id,
      connection: this.id,
      way: this.redirect === undefined ? undefined : "transparent",
      source: this.#source,
      sandbox: sandbox?.id,
      labels: sandbox?.labels,
      phase: sandbox?.phase,
      policy: sandbox?.policy,
      generation: published.generation,
      method: undefined,
      scheme: undefined,
      host: undefined,
      port: undefined,
      path: undefined,
      query: undefined,
      keepQuery: false,
    };
  }
}

function credentialsIn(headers: HeaderPairs): string | undefined {
  const given = all(headers, "proxy-authorization");
  return given.length === 0 ? undefined : given.join("\n");
}

function formatPeer({ address, port }: Peer): string {
  if (address.startsWith("unix:")) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

const NOT_LOOKED_AT: Identified = { ok: false, reason: "credentials-wrong" };
