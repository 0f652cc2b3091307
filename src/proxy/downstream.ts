// What the proxy asks of an engine that speaks to sandboxes, whichever HTTP version it speaks.

import type { Duplex } from "node:stream";
import type { ProxyFault } from "../net/fault.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { BodyLength, BodySink, BodySource, ResponseHead } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";

/** The octets of a connection; a TCP or TLS socket. */
export type ByteStream = Duplex & {
  setTimeout(ms: number): unknown;
  destroySoon(): void;
  /** By a TCP reset: for the connection itself, not for TLS on top of one. */
  resetAndDestroy(): unknown;
};

/** One request, and the one answer it gets. */
export type DownstreamExchange = {
  readonly request: ParsedRequest;
  readonly body: BodySource;
  /** Octets of heads and bodies written to the sandbox so far. */
  readonly octetsOut: number;
  /** The final head is written, or the connection handed over. */
  readonly answered: boolean;
  /**
   * Called at most once: with `undefined` when the sandbox is gone, with a fault when its body turns out malformed or
   * stalls, in which case an answer is still owed if none was begun.
   */
  onGone: ((fault: ProxyFault | undefined) => void) | undefined;
  /** Called once the answer is whole, or, with why, cut. */
  onAnswered: ((cut: Reason | undefined) => void) | undefined;
  /** No request is read from the connection behind this one. */
  last(): void;
  /** An interim answer (1xx, not 101). */
  inform(head: ResponseHead): void;
  /**
   * The final head; `declared` frames what the sink is then given (for HEAD and 304: only what the head says). `begin` is given it at
   * once: what it writes meanwhile leaves together with the head.
   */
  respond(head: ResponseHead, declared: BodyLength, begin: (sink: BodySink) => void): void;
  /** Answers with `head` and hands the connection over; what follows is no longer HTTP to this engine. */
  takeover(head: ResponseHead): ByteStream;
};

export type DownstreamHandler = {
  onExchange(exchange: DownstreamExchange): void;
  /** Octets that are no request; `respond` answers once, and the connection is closed after it. */
  onMalformed(fault: ProxyFault, respond: (head: ResponseHead, body: Buffer) => void): void;
  /** The connection is somebody else's now, and the engine tells nothing more of it, its end included. */
  onHandedOver(): void;
  onClose(): void;
};
