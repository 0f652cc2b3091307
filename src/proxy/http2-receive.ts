// What each frame of a sandbox's HTTP/2 connection does, and which are not to be had there (RFC 9113 §5 and §6). Frames that carry
// nothing, and streams that come to nothing, are counted: see http2-calm.ts.

import { ProxyFault } from "../net/fault.ts";
import { CODE, type ErrorCode, FLAG, type Frame, TYPE, unpadded } from "../net/http2-frames.ts";
import { checkTrailers, parseHttp2Request } from "../net/http2-request.ts";
import { ABANDONED_STREAMS, Allowance, IDLE_FRAMES, REFUSED_STREAMS } from "./http2-calm.ts";
import { Http2Exchange } from "./http2-exchange.ts";
import { type FieldBlock, FieldBlocks } from "./http2-fields.ts";
import type { Http2Server } from "./http2-server.ts";
import { CONNECTION_WINDOW, readSettings, STREAM_WINDOW } from "./http2-settings.ts";

export class Http2Frames {
  readonly #server: Http2Server;
  readonly #blocks: FieldBlocks;
  readonly #idle = new Allowance(IDLE_FRAMES);
  readonly #abandoned = new Allowance(ABANDONED_STREAMS);
  readonly #refused = new Allowance(REFUSED_STREAMS);
  /** The first SETTINGS are here. */
  greeted = false;
  /** The last stream that the sandbox opened. */
  last = 0;
  /** Octets of bodies that the sandbox may send. */
  window = CONNECTION_WINDOW;

  constructor(server: Http2Server) {
    this.#server = server;
    this.#blocks = new FieldBlocks(server.limits);
  }

  /** When the head that is not whole yet began, or 0. */
  get blockSince(): number {
    return this.#blocks.since;
  }

  /** What ends the connection, if anything. */
  receive(frame: Frame): ErrorCode | undefined {
    const { type, stream } = frame;
    if (!this.greeted && (type !== TYPE.settings || (frame.flags & FLAG.ack) !== 0)) return CODE.protocol;
    if (this.#blocks.stream !== undefined && (type !== TYPE.continuation || stream !== this.#blocks.stream))
      return CODE.protocol;
    switch (type) {
      case TYPE.data:
        return this.#data(frame);
      case TYPE.headers:
        return this.#headers(frame);
      case TYPE.continuation:
        if (this.#blocks.stream === undefined) return CODE.protocol;
        this.#blocks.add(frame.payload);
        return this.#blockEnd(frame);
      case TYPE.reset:
        return this.#reset(frame);
      case TYPE.settings:
        return this.#settings(frame);
      case TYPE.ping:
        return this.#ping(frame);
      case TYPE.window:
        return this.#grow(frame);
      case TYPE.priority:
        if (stream === 0) return CODE.protocol;
        // Priorities are ignored.
        return frame.payload.length === 5 ? this.#carriesNothing() : CODE.frameSize;
      case TYPE.goaway:
        if (stream !== 0) return CODE.protocol;
        if (frame.payload.length < 8) return CODE.frameSize;
        this.#server.leaves();
        return undefined;
      case TYPE.push:
        return CODE.protocol;
      default:
        return this.#carriesNothing();
    }
  }

  #carriesNothing(cost = 1): ErrorCode | undefined {
    const { output } = this.#server;
    // Whoever gets data gives windows for it.
    this.#idle.earn(output.dataFrames * UPDATES_A_FRAME);
    output.dataFrames = 0;
    return this.#idle.spend(cost) ? undefined : CODE.calm;
  }

  /** Nothing was ever said on it, and nothing may be but HEADERS. */
  #untouched(stream: number): boolean {
    return stream > this.last || stream % 2 === 0;
  }

  #data(frame: Frame): ErrorCode | undefined {
    const { stream } = frame;
    const { length } = frame.payload;
    const octets = unpadded(frame);
    if (this.#untouched(stream) || octets === undefined) return CODE.protocol;
    this.window -= length;
    if (this.window < 0) return CODE.flowControl;
    const server = this.#server;
    const exchange = server.streams.get(stream);
    const end = (frame.flags & FLAG.endStream) !== 0;
    if (octets.length > 0) this.#idle.earn();
    else if (!end && !this.#idle.spend()) return CODE.calm;
    if (exchange === undefined) {
      server.taken(undefined, length);
      if (server.ignored.has(stream)) return undefined;
      return CODE.streamClosed;
    }
    exchange.window -= length;
    if (exchange.window < 0) return this.#break(exchange, CODE.flowControl);
    if (exchange.body.complete) return CODE.streamClosed;
    server.taken(exchange, length - octets.length);
    return this.#attempt(exchange, () => {
      exchange.receive(octets);
      if (end) exchange.finish([]);
    });
  }

  /** The stream is over, as if the sandbox had reset it, and is told why. It counts as such, too (CVE-2025-8671). */
  #break(exchange: Http2Exchange, code: ErrorCode): ErrorCode | undefined {
    const allowance = exchange.answered ? this.#idle : this.#abandoned;
    exchange.gone(undefined);
    this.#server.close(exchange, code);
    return allowance.spend() ? undefined : CODE.calm;
  }

  /** What is malformed in a request that is under way is answered, where nothing was yet. */
  #attempt(exchange: Http2Exchange, step: () => void): ErrorCode | undefined {
    try {
      step();
      return undefined;
    } catch (error) {
      const fault = error instanceof ProxyFault ? error : new ProxyFault("internal-error", error);
      const { answered } = exchange;
      exchange.gone(fault);
      if (answered) return this.#break(exchange, CODE.protocol);
      return this.#refused.spend() ? undefined : CODE.calm;
    }
  }

  #headers(frame: Frame): ErrorCode | undefined {
    const { stream } = frame;
    const piece = unpadded(frame);
    if (stream % 2 === 0 || piece === undefined) return CODE.protocol;
    this.#blocks.begin(stream, (frame.flags & FLAG.endStream) !== 0);
    this.#blocks.add(piece);
    return this.#blockEnd(frame);
  }

  #blockEnd({ flags }: Frame): ErrorCode | undefined {
    if ((flags & FLAG.endHeaders) === 0) {
      this.#server.arm(this.#server.limits.headMs);
      return undefined;
    }
    const block = this.#blocks.end();
    if (block === undefined) return CODE.compression;
    const exchange = this.#server.streams.get(block.stream);
    if (exchange !== undefined) return this.#trailers(exchange, block);
    if (block.stream > this.last) return this.#open(block);
    return this.#server.ignored.has(block.stream) ? this.#carriesNothing() : CODE.streamClosed;
  }

  #trailers(exchange: Http2Exchange, { endStream, section }: FieldBlock): ErrorCode | undefined {
    if (exchange.body.complete) return CODE.streamClosed;
    return this.#attempt(exchange, () => {
      if (section.over) throw new ProxyFault("head-too-large");
      if (!endStream) throw new ProxyFault("request-malformed");
      checkTrailers(section.fields);
      exchange.finish(section.fields);
    });
  }

  #open({ stream, endStream, section }: FieldBlock): ErrorCode | undefined {
    const server = this.#server;
    const { limits, extendedConnect } = server;
    this.last = stream;
    if (server.closing) {
      // GOAWAY said that it is not served.
      server.disregard(stream);
      return this.#carriesNothing();
    }
    let fault: ProxyFault | undefined;
    if (server.streams.size >= limits.streams) fault = new ProxyFault("too-many-streams");
    else if (section.over) fault = new ProxyFault("head-too-large");
    if (fault === undefined) {
      try {
        const request = parseHttp2Request(section.fields, { limits, ended: endStream, extendedConnect });
        const window = STREAM_WINDOW;
        server.begin(new Http2Exchange({ host: server, id: stream, request, ended: endStream, window }));
        return undefined;
      } catch (error) {
        if (!(error instanceof ProxyFault)) throw error;
        fault = error;
      }
    }
    if (!this.#refused.spend()) return CODE.calm;
    server.refuse(stream, fault);
    return undefined;
  }

  #reset({ stream, payload }: Frame): ErrorCode | undefined {
    if (this.#untouched(stream)) return CODE.protocol;
    if (payload.length !== 4) return CODE.frameSize;
    const exchange = this.#server.streams.get(stream);
    if (exchange === undefined) return this.#carriesNothing();
    const allowance = exchange.answered ? this.#idle : this.#abandoned;
    exchange.gone(undefined);
    this.#server.forget(exchange);
    return allowance.spend() ? undefined : CODE.calm;
  }

  #settings(frame: Frame): ErrorCode | undefined {
    const read = readSettings(frame);
    if (typeof read === "number") return read;
    this.greeted = true;
    if ((frame.flags & FLAG.ack) !== 0) return this.#carriesNothing();
    const { output, streams } = this.#server;
    if (read.window !== undefined) {
      const grown = read.window - output.initialWindow;
      output.initialWindow = read.window;
      for (const { sender } of streams.values()) if (!sender.grow(grown)) return CODE.flowControl;
    }
    output.control(TYPE.settings, FLAG.ack, 0);
    return this.#carriesNothing(SETTINGS_COST);
  }

  #ping({ flags, payload, stream }: Frame): ErrorCode | undefined {
    if (stream !== 0) return CODE.protocol;
    if (payload.length !== 8) return CODE.frameSize;
    if ((flags & FLAG.ack) === 0) this.#server.output.control(TYPE.ping, FLAG.ack, 0, payload);
    return this.#carriesNothing();
  }

  #grow({ stream, payload }: Frame): ErrorCode | undefined {
    if (payload.length !== 4) return CODE.frameSize;
    const octets = payload.readUInt32BE(0) & 0x7fffffff;
    if (stream !== 0 && this.#untouched(stream)) return CODE.protocol;
    const { output, streams } = this.#server;
    if (stream === 0) {
      if (octets === 0) return CODE.protocol;
      if (!output.grow(octets)) return CODE.flowControl;
    } else {
      const exchange = streams.get(stream);
      if (exchange !== undefined) {
        if (octets === 0) return this.#break(exchange, CODE.protocol);
        if (!exchange.sender.grow(octets)) return this.#break(exchange, CODE.flowControl);
      }
    }
    return this.#carriesNothing();
  }
}

const UPDATES_A_FRAME = 3;
/** Each may have to be applied to every stream. */
const SETTINGS_COST = 10;
