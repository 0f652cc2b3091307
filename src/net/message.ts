// HTTP messages between the engines, whichever protocol each side speaks: heads as raw pairs, bodies as byte streams.

import type { Reason } from "./reasons.ts";
import type { HeaderPairs } from "./headers.ts";

export type RequestHead = {
  readonly method: string;
  /** Request target as received, latin1. */
  readonly target: string;
  readonly version: "1.0" | "1.1" | "2";
  readonly headers: HeaderPairs;
};

export type ResponseHead = {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderPairs;
};

/** `none`: no body at all. `known`: exactly so many octets. `chunked`: until it ends itself, trailers possible. `close`: until the connection ends. */
export type BodyLength =
  | { readonly kind: "none" }
  | { readonly kind: "known"; readonly octets: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

/** Where a body goes. `write` is false when the sink is full; `onDrain` is called once when it takes more. */
export type BodySink = {
  write(chunk: Buffer): boolean;
  end(trailers: HeaderPairs): void;
  /** The body will not be completed; whoever reads on must be able to tell. */
  abort(reason: Reason): void;
  onDrain: (() => void) | undefined;
};

/** Where a body comes from. Nothing is delivered before `pipe`; `stop` ends delivery and frees what it holds. */
export type BodySource = {
  readonly length: BodyLength;
  pipe(sink: BodySink): void;
  stop(): void;
};
