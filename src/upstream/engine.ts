// What the proxy asks of an engine that speaks to origins, whichever HTTP version it speaks.

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { Host } from "../net/host.ts";
import type { BodyLength, BodySource, ResponseHead } from "../net/message.ts";

export type Origin = {
  readonly scheme: "http" | "https";
  readonly target: Authority;
  /** Connections are never shared between partitions: an origin may have bound credentials to one. */
  readonly partition: string;
  /** What the request came by; an upgrade goes by HTTP/1.1 alone. */
  readonly by: "1.1" | "2" | "upgrade";
};

/** Ready to be written: end-to-end fields only, one Host, no framing. */
export type UpstreamRequest = {
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderPairs;
  readonly body: BodySource;
  /** Token of the upgrade asked for. */
  readonly upgrade: string | undefined;
  /** The sandbox said `TE: trailers`. */
  readonly trailers: boolean;
  /** Names, in lower case, of fields that no HPACK table may keep (RFC 7541 §7.1.3). */
  readonly sensitive?: readonly string[] | undefined;
};

export type UpstreamAnswer = {
  readonly head: ResponseHead;
  /** What the head declares; differs from `body.length` for HEAD and 304. */
  readonly declared: BodyLength;
  readonly body: BodySource;
  /** After 101: the connection, with what already arrived behind the head. */
  takeover(): Socket;
};

/** A parent proxy on the way to an origin. */
export type Through = {
  /** Its `host:port`. */
  readonly parent: string;
  /** The origin's name is told to it and resolved there: nobody here knows an address to judge. */
  readonly unresolved: boolean;
};

export type UpstreamConnection = {
  /** The origin's; `undefined` where a parent proxy resolved its name. */
  readonly address: Address | undefined;
  readonly reused: boolean;
  /** Octets of the current request written, head and body. */
  readonly octetsOut: number;
  /** Octets of the current answer have arrived. */
  readonly answering: boolean;
  /** The origin said that it did nothing with the current request. */
  readonly unprocessed: boolean;
  /**
   * Sends one request. Rejects with a ProxyFault where no final head arrives. After the answer's body has ended, the
   * connection goes back to the pool by itself, if both sides left it fit for use.
   */
  send(request: UpstreamRequest, inform: (head: ResponseHead) => void): Promise<UpstreamAnswer>;
  /** Ends whatever is under way, of this request alone; what it ran on is not used again, unless others run on it. */
  abort(): void;
};

export type Upstream = {
  /** Rejects with a ProxyFault. `partition`: whose share of the questions in flight it is. */
  resolve(host: Host, partition: string): Promise<readonly Address[]>;
  /** The parent proxy that this origin is reached through; `undefined`: none. */
  through(target: Authority): Through | undefined;
  /** An idle connection, taken out of the pool, or a share of one; its address is to be judged again. */
  reuse(origin: Origin): UpstreamConnection | undefined;
  /** Dials judged addresses, and verifies the origin where the scheme is https. */
  connect(origin: Origin, addresses: readonly Address[]): Promise<UpstreamConnection>;
  /** Dials judged addresses for a spliced tunnel. */
  dial(
    target: Authority,
    addresses: readonly Address[],
  ): Promise<{ socket: Socket; address: Address | undefined }>;
  /** Ends what is kept idle for this partition and those that begin with it and a space, or for all: whoever it was kept for is nobody any more. */
  drop(partition: string | undefined): void;
  /** Closes idle connections and keeps none from now on; what is under way ends by itself. */
  close(): void;
};
