// The HTTP/2 engine towards sandboxes (RFC 9113): each stream becomes an exchange of its own. Whatever breaks the connection's rules
// ends it with GOAWAY and a record; a stream that is malformed is refused alone, with a record too.

import { readDirectly, stopReading } from "../net/direct-read.ts";
import { ProxyFault } from "../net/fault.ts";
import { CODE, type ErrorCode, FrameReader, numbers, PREFACE, TYPE } from "../net/http2-frames.ts";
import type { Limits } from "../net/limits.ts";
import { REASONS } from "../net/reasons.ts";
import type { ByteStream, DownstreamHandler } from "./downstream.ts";
import { Http2Frames } from "./http2-receive.ts";
import type { Http2Exchange, StreamHost } from "./http2-exchange.ts";
import { Http2Output } from "./http2-output.ts";
import { lowerCase } from "./http2-responder.ts";
import { CONNECTION_WINDOW, ourSettings, STREAM_WINDOW } from "./http2-settings.ts";
import { ignoreError } from "./ignore-error.ts";
import { lingerAndClose } from "./linger.ts";

export type Http2Options = {
  readonly socket: ByteStream;
  readonly limits: Limits;
  readonly handler: DownstreamHandler;
  /** Whether streams may become WebSockets (RFC 8441). */
  readonly extendedConnect: boolean;
};

export class Http2Server implements StreamHost {
  readonly output: Http2Output;
  readonly limits: Limits;
  readonly extendedConnect: boolean;
  readonly handler: DownstreamHandler;
  readonly streams = new Map<number, Http2Exchange>();
  /** Over on our side, while frames of theirs may still be under way. */
  readonly ignored = new Set<number>();
  readonly #socket: ByteStream;
  readonly #reader = new FrameReader();
  readonly #frames: Http2Frames;
  #prefaced = false;
  /** No further stream is taken than this one, as GOAWAY said. */
  #final: number | undefined;
  #leaving = false;
  #over = false;
  #owed = 0;
  #idleSince = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #due = 0;

  constructor({ socket, limits, handler, extendedConnect }: Http2Options) {
    this.#socket = socket;
    this.limits = limits;
    this.handler = handler;
    this.extendedConnect = extendedConnect;
    this.output = new Http2Output(socket);
    this.#frames = new Http2Frames(this);
    readDirectly(socket, this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("error", ignoreError);
    socket.on("close", this.#onClose);
    socket.setTimeout(0);
    this.output.control(TYPE.settings, 0, 0, ourSettings(limits, extendedConnect));
    this.output.control(TYPE.window, 0, 0, numbers(CONNECTION_WINDOW - 65_535));
    this.arm(limits.headMs);
  }

  /** Takes no further streams; closes once those that are open have ended. */
  drain(): void {
    if (this.closing || this.#over) return;
    this.#final = this.#frames.last;
    this.output.control(TYPE.goaway, 0, 0, numbers(this.#final, CODE.none));
    if (this.streams.size === 0) this.#finish();
  }

  /** GOAWAY is how HTTP/2 says that a connection ends: what comes behind it was not processed, and is asked again elsewhere. */
  retire(): void {
    this.drain();
  }

  get closing(): boolean {
    return this.#final !== undefined;
  }

  /** The sandbox said GOAWAY: what it still asks for is the last. */
  leaves(): void {
    this.#leaving = true;
    if (this.streams.size === 0) this.#finish();
  }

  begin(exchange: Http2Exchange): void {
    this.streams.set(exchange.id, exchange);
    this.arm(this.limits.bodyIdleMs);
    this.handler.onExchange(exchange);
  }

  close(exchange: Http2Exchange, code: ErrorCode | undefined): void {
    if (code !== undefined) this.output.reset(exchange.id, code);
    if (!exchange.body.complete) this.disregard(exchange.id);
    this.forget(exchange);
  }

  forget(exchange: Http2Exchange): void {
    if (this.streams.get(exchange.id) !== exchange) return;
    this.streams.delete(exchange.id);
    if (this.streams.size > 0) return;
    this.#idleSince = Date.now();
    if (this.closing || this.#leaving) this.#finish();
    else this.arm(this.limits.keepAliveMs);
  }

  disregard(stream: number): void {
    this.ignored.add(stream);
    if (this.ignored.size <= MAX_IGNORED) return;
    for (const oldest of this.ignored) {
      this.ignored.delete(oldest);
      return;
    }
  }

  /** A request that cannot be read, or one too many: told, and recorded, before its stream is reset. */
  refuse(stream: number, fault: ProxyFault): void {
    this.disregard(stream);
    this.handler.onMalformed(fault, (head, body) => {
      if (this.#over) return;
      // Whoever was not served at all may ask again, and clients do by themselves.
      if (fault.reason === "too-many-streams") return this.output.reset(stream, CODE.refused);
      const fits = body.length <= Math.min(this.output.room, this.output.initialWindow);
      const fields = [":status", String(head.status), ...lowerCase(head.headers)];
      if (fits) fields.push("content-length", String(body.length));
      this.output.fields(stream, fields, !fits);
      if (fits) this.output.data(stream, body, true);
      this.output.reset(stream, REASONS[fault.reason].kind === "malformed" ? CODE.protocol : CODE.none);
    });
  }

  /** So many octets more may be sent: to the connection, and on the stream while it is open. */
  taken(exchange: Http2Exchange | undefined, octets: number): void {
    if (this.#over || octets === 0) return;
    this.#owed += octets;
    if (this.#owed >= CONNECTION_WINDOW / 2) {
      this.output.control(TYPE.window, 0, 0, numbers(this.#owed));
      this.#frames.window += this.#owed;
      this.#owed = 0;
    }
    if (exchange === undefined || exchange.body.complete || this.streams.get(exchange.id) !== exchange)
      return;
    exchange.owed += octets;
    if (exchange.owed < STREAM_WINDOW / 2) return;
    this.output.control(TYPE.window, 0, exchange.id, numbers(exchange.owed));
    exchange.window += exchange.owed;
    exchange.owed = 0;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#reader.push(chunk);
    try {
      this.#read();
    } catch (error) {
      const fault = error instanceof ProxyFault ? error : new ProxyFault("internal-error", error);
      this.#end(REASONS[fault.reason].kind === "limit" ? CODE.calm : CODE.internal, fault);
    }
    // Whoever does not read what it asked for is not listened to.
    if (this.output.backlog > MAX_BACKLOG) this.#socket.pause();
  };

  #read(): void {
    if (!this.#prefaced) {
      const lead = this.#reader.lead(PREFACE.length);
      if (lead === undefined) return;
      if (!lead.equals(PREFACE)) return this.#end(CODE.protocol, new ProxyFault("request-malformed"));
      this.#prefaced = true;
    }
    while (!this.#over) {
      const frame = this.#reader.next();
      if (frame === undefined) return;
      const code = frame === "too-large" ? CODE.frameSize : this.#frames.receive(frame);
      if (code !== undefined) {
        const reason = code === CODE.calm ? "too-many-frames" : "request-malformed";
        return this.#end(code, new ProxyFault(reason));
      }
    }
  }

  /** Nothing of this connection can be relied on any more. */
  #end(code: ErrorCode, fault: ProxyFault): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    stopReading(this.#socket, this.#onData);
    this.#socket.resume();
    this.#abandon();
    this.handler.onMalformed(fault, () => {
      const why = Buffer.from(fault.reason, "latin1");
      const last = this.#final ?? this.#frames.last;
      this.output.control(TYPE.goaway, 0, 0, Buffer.concat([numbers(last, code), why]));
      lingerAndClose(this.#socket, this.limits.bodyIdleMs);
    });
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    stopReading(this.#socket, this.#onData);
    lingerAndClose(this.#socket, this.limits.bodyIdleMs);
  }

  #abandon(): void {
    const open = [...this.streams.values()];
    this.streams.clear();
    for (const exchange of open) exchange.gone(undefined);
  }

  readonly #onDrain = (): void => {
    this.#socket.resume();
    this.output.flush();
  };

  /** Without its other half no stream can go on: nothing more could be given room. */
  readonly #onEnd = (): void => {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#abandon();
    lingerAndClose(this.#socket, this.limits.bodyIdleMs);
  };

  readonly #onClose = (): void => {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#abandon();
    this.handler.onClose();
  };

  /** Looks at what is late no later than in so many milliseconds. */
  arm(ms: number): void {
    const due = Date.now() + ms;
    if (this.#over || (this.#timer !== undefined && this.#due <= due)) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(this.#look, ms);
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    const { bodyIdleMs, headMs, keepAliveMs } = this.limits;
    const now = Date.now();
    const begun = this.#frames.blockSince;
    const heads = this.#frames.greeted ? begun : this.#idleSince;
    if (heads !== 0 && now - heads >= headMs) {
      if (!this.#prefaced && !this.#reader.partial) return this.#finish();
      return this.#end(CODE.calm, new ProxyFault("request-timeout"));
    }
    let left = heads === 0 ? Infinity : headMs - (now - heads);
    for (const exchange of this.streams.values()) {
      const rest = bodyIdleMs - exchange.stalledFor();
      if (rest <= 0) exchange.stalled();
      else left = Math.min(left, rest);
    }
    if (this.streams.size === 0) {
      const rest = keepAliveMs - (now - this.#idleSince);
      if (rest <= 0) return this.drain();
      left = Math.min(left, rest);
    }
    this.arm(Math.min(left, bodyIdleMs));
  };
}

const MAX_IGNORED = 1_000;
const MAX_BACKLOG = 256 * 1024;
