// One request on a stream of an HTTP/2 connection, and its one answer. What happens to it ends no other stream.

import { ProxyFault } from "../net/fault.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { Http2Request } from "../net/http2-request.ts";
import { CODE, type ErrorCode } from "../net/http2-frames.ts";
import type { BodyLength, BodySink, ResponseHead } from "../net/message.ts";
import { REASONS, type Reason } from "../net/reasons.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { Http2Body } from "./http2-body.ts";
import type { Http2Output } from "./http2-output.ts";
import { Http2Responder, lowerCase } from "./http2-responder.ts";
import { Http2Sender } from "./http2-sender.ts";
import { accepted, Http2Tunnel, newKey, switched, withKey } from "./http2-websocket.ts";

/** The connection it runs on. */
export type StreamHost = {
  readonly output: Http2Output;
  /** The stream is over for both sides, or `code` is to tell the sandbox that it is. */
  close(exchange: Http2Exchange, code: ErrorCode | undefined): void;
  /** So many octets more may be sent on the stream. */
  taken(exchange: Http2Exchange, octets: number): void;
};

type Options = {
  readonly host: StreamHost;
  readonly id: number;
  readonly request: Http2Request;
  /** END_STREAM came with the head. */
  readonly ended: boolean;
  /** Octets that the sandbox may send on the stream. */
  readonly window: number;
};

export class Http2Exchange implements DownstreamExchange {
  readonly id: number;
  readonly request: Http2Request;
  readonly body: Http2Body;
  readonly sender: Http2Sender;
  /** What the sandbox may still send, and what it was not yet given back. */
  window: number;
  owed = 0;
  onGone: ((fault: ProxyFault | undefined) => void) | undefined;
  onAnswered: ((cut: Reason | undefined) => void) | undefined;
  readonly #host: StreamHost;
  readonly #key: string | undefined;
  #responder: Http2Responder | undefined;
  #tunnel: Http2Tunnel | undefined;
  #informed = 0;
  #continued = false;
  #gone = false;
  #cut: ErrorCode | undefined;
  /** Runs once the answer is out, and the request is not. */
  #quiet: NodeJS.Timeout | undefined;
  #lingersUntil = 0;
  /** What is wrong with the request. */
  #fault: Reason | undefined;

  constructor({ host, id, request, ended, window }: Options) {
    this.#host = host;
    this.id = id;
    this.window = window;
    this.#key = request.websocket ? newKey() : undefined;
    this.request = this.#key === undefined ? request : withKey(request, this.#key);
    this.sender = new Http2Sender(host.output, id);
    this.sender.onSent = () => {
      this.#tunnel?.flushed();
      this.#settle();
    };
    this.body = new Http2Body({
      length: request.length,
      ended,
      taken: (octets) => host.taken(this, octets),
    });
  }

  get octetsOut(): number {
    return this.#informed + (this.#responder?.octets ?? 0);
  }

  get answered(): boolean {
    return this.#responder !== undefined || this.#tunnel !== undefined;
  }

  /** Each stream is read by itself. */
  last(): void {}

  inform(head: ResponseHead): void {
    if (this.answered || this.#gone) return;
    if (head.status === 100) {
      if (!this.request.expectContinue || this.#continued) return;
      this.#continued = true;
    }
    const fields = [":status", String(head.status), ...lowerCase(head.headers)];
    this.#informed += this.#host.output.fields(this.id, fields, false);
  }

  respond(head: ResponseHead, declared: BodyLength, begin: (sink: BodySink) => void): void {
    // To whoever asked for a WebSocket any 2xx would say that it has one.
    if (this.#key !== undefined && head.status < 300) throw new ProxyFault("upstream-upgrade-failed");
    if (this.#gone) return begin(NOWHERE(this.#answered));
    this.#responder = new Http2Responder({
      output: this.#host.output,
      sender: this.sender,
      id: this.id,
      method: this.request.head.method,
      head,
      declared,
      onEnd: this.#answered,
    });
    begin(this.#responder);
  }

  readonly #answered = (cut: Reason | undefined): void => {
    this.onAnswered?.(cut);
    if (cut !== undefined) this.#reset(codeOf(this.#fault ?? cut));
    else if (!this.body.complete) this.body.stop();
    this.#settle();
  };

  takeover(head: ResponseHead): ByteStream {
    if (this.#key === undefined || !accepted(head, this.#key))
      throw new ProxyFault("upstream-upgrade-failed");
    this.onGone = undefined;
    this.#informed += this.#host.output.fields(this.id, switched(head), false);
    this.#tunnel = new Http2Tunnel({
      sender: this.sender,
      taken: (octets) => this.#host.taken(this, octets),
      onBreak: () => this.#reset(CODE.cancel),
    });
    if (this.body.complete) this.#tunnel.finish();
    if (this.#gone) this.#tunnel.destroy();
    return this.#tunnel;
  }

  /** DATA. Throws where there is more than was announced. */
  receive(octets: Buffer): void {
    if (this.#quiet !== undefined) {
      this.#quiet.refresh();
      if (Date.now() > this.#lingersUntil) this.#reset(CODE.none);
    }
    if (this.#tunnel !== undefined) this.#tunnel.receive(octets);
    else if (this.#key !== undefined) this.#early(octets);
    else this.body.push(octets);
  }

  /** Of a WebSocket that was not answered yet: nothing may be said before that. */
  #early(octets: Buffer): void {
    if (octets.length > 0) throw new ProxyFault("request-malformed");
  }

  /** END_STREAM, with what trailers there are. Throws where there is less than was announced. */
  finish(trailers: HeaderPairs): void {
    if (this.#tunnel !== undefined) {
      this.#tunnel.finish();
      this.body.complete = true;
    } else {
      this.body.end(trailers);
    }
    this.#settle();
  }

  /** Milliseconds since the sandbox should have read or sent something; 0 while it is the origin's turn. */
  stalledFor(): number {
    // What is only read away has a bound of its own.
    if (this.#tunnel !== undefined || this.#quiet !== undefined) return 0;
    const { blockedSince } = this.sender;
    const now = Date.now();
    if (blockedSince !== 0) return now - blockedSince;
    // Where the answer moves, the request may rest: calls that go both ways do so for hours.
    return Math.min(this.body.stalledFor(), now - (this.#responder?.movedAt ?? 0));
  }

  /** The sandbox is gone, or what it sent is malformed or late: then an answer is owed if none was begun. */
  gone(fault: ProxyFault | undefined): void {
    if (this.#gone) return;
    this.#gone = fault === undefined;
    this.#fault = fault?.reason;
    this.body.fail(fault);
    if (this.#gone) {
      clearTimeout(this.#quiet);
      this.sender.stop();
    }
    this.#tunnel?.destroy();
    this.onGone?.(fault);
  }

  /** It stalls: cut where its answer was begun, else told so. */
  stalled(): void {
    const { answered } = this;
    this.gone(new ProxyFault("request-timeout"));
    if (answered) this.#reset(CODE.cancel);
  }

  #reset(code: ErrorCode): void {
    if (this.#cut !== undefined || this.#gone) return;
    clearTimeout(this.#quiet);
    this.#cut = code;
    this.sender.stop();
    this.#host.close(this, code);
  }

  /** Where the answer is out, what is left of the request is not wanted (RFC 9113 §8.1). */
  #settle(): void {
    if (!this.sender.sent || this.#cut !== undefined || this.#gone) return;
    if (this.#fault !== undefined) {
      // Its end may have come behind what is wrong with it.
      this.#reset(codeOf(this.#fault));
    } else if (this.body.complete) {
      clearTimeout(this.#quiet);
      this.#host.close(this, undefined);
    } else if (this.#tunnel === undefined) {
      this.#linger();
    }
  }

  /**
   * The rest of the request is read away for a while, then not wanted any more (RFC 9113 §8.1): some clients send all of it before they
   * read a word, and take a reset for a failure.
   */
  #linger(): void {
    if (this.#quiet !== undefined) return;
    this.#lingersUntil = Date.now() + LINGER_MS;
    this.#quiet = setTimeout(() => this.#reset(CODE.none), QUIET_MS);
  }
}

function codeOf(reason: Reason): ErrorCode {
  const { kind } = REASONS[reason];
  return kind === "malformed" ? CODE.protocol : kind === "fault" ? CODE.internal : CODE.cancel;
}

/** An answer that nobody is there for. */
const NOWHERE = (onEnd: (cut: Reason | undefined) => void): BodySink => {
  let ended = false;
  const end = (cut: Reason | undefined): void => {
    if (!ended) onEnd(cut);
    ended = true;
  };
  return { write: () => true, end: () => end(undefined), abort: end, onDrain: undefined };
};

/** As for a whole connection: see linger.ts. */
const LINGER_MS = 30_000;
const QUIET_MS = 2_000;
