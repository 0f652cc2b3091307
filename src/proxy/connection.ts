// Who is at the other end of a connection, and what its requests can rely on: the tunnel they run in, if any, and the
// sandbox that its credentials name.

import type { Subject } from "../audit/types.ts";
import type { Identified, Identifier } from "../identity/identify.ts";
import type { Authority } from "../net/authority.ts";
import { all, first, type HeaderPairs } from "../net/headers.ts";
import type { Parts, Published } from "./parts.ts";

export type Tunnel = {
  readonly target: Authority;
  /** Audit id of its CONNECT. */
  readonly id: string;
  /** The CONNECT's fields: its credentials hold for what runs inside. */
  readonly headers: HeaderPairs;
};

export type Peer = { readonly address: string; readonly port: number };

export class Connection {
  readonly id: string;
  readonly peer: Peer;
  readonly tunnel: Tunnel | undefined;
  #known:
    | { readonly generation: number; readonly credentials: string | undefined; readonly who: Identified }
    | undefined;

  constructor(id: string, peer: Peer, tunnel?: Tunnel) {
    this.id = id;
    this.peer = peer;
    this.tunnel = tunnel;
  }

  /** Checked anew whenever the configuration or the field's value differs from the last request's; guessing is slowed. */
  identify(parts: Parts, published: Published, headers: HeaderPairs): Identified {
    const fields = this.tunnel?.headers ?? headers;
    const credentials = all(fields, "proxy-authorization").join("\n") || undefined;
    const known = this.#known;
    if (known?.generation === published.generation && known.credentials === credentials) return known.who;
    const who = this.#check(parts, published.identifier, fields);
    this.#known = { generation: published.generation, credentials, who };
    return who;
  }

  #check({ guesses, now }: Parts, identifier: Identifier, fields: HeaderPairs): Identified {
    const { address } = this.peer;
    if (first(fields, "proxy-authorization") !== undefined && guesses.waitMs(address, now()) > 0) {
      return { ok: false, reason: "credentials-wrong" };
    }
    const who = identifier.identify(fields);
    if (!who.ok && who.reason === "credentials-wrong") guesses.failure(address, now());
    return who;
  }

  /** What is known of any record about this connection. */
  subject(published: Published, who: Identified | undefined): Subject {
    const sandbox = who?.ok === true ? who.sandbox : undefined;
    return {
      kind: "request",
      tunnel: this.tunnel?.id,
      connection: this.id,
      source: formatPeer(this.peer),
      sandbox: sandbox?.id,
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

function formatPeer({ address, port }: Peer): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
