// The HTTP/1 engine towards sandboxes: requests in, one at a time and in order, answers out with framing of our own.
// It never lets octets that follow a request be read as anything but the next request.

import { asFault, ProxyFault } from "../net/fault.ts";
import { readDirectly, stopReading } from "../net/direct-read.ts";
import { headEnd, HeadBuffer } from "../net/http1-head-buffer.ts";
import { parseRequest, type ParsedRequest } from "../net/http1-head.ts";
import type { Limits } from "../net/limits.ts";
import { Pieces } from "../net/pieces.ts";
import type { ByteStream, DownstreamHandler } from "./downstream.ts";
import { watchHalfClosed } from "./half-closed.ts";
import { Http1Exchange } from "./http1-exchange.ts";
import { headText } from "./http1-responder.ts";
import { ignoreError } from "./ignore-error.ts";
import { lingerAndClose } from "./linger.ts";
import { SocketTimer } from "./socket-timer.ts";

export type Http1Options = {
  readonly socket: ByteStream;
  /** The TCP connection that `socket` is, or runs over. */
  readonly transport: ByteStream;
  readonly limits: Limits;
  readonly handler: DownstreamHandler;
};

export class Http1Server {
  readonly #socket: ByteStream;
  readonly #transport: ByteStream;
  readonly #limits: Limits;
  readonly #handler: DownstreamHandler;
  readonly #head: HeadBuffer;
  #headTimer: NodeJS.Timeout | undefined;
  #endHalfClosedWatch: (() => void) | undefined;
  #exchange: Http1Exchange | undefined;
  /** Octets that arrived behind the current request. */
  readonly #waiting = new Pieces();
  readonly #timer: SocketTimer;
  readonly #shortest: number;
  #ended = false;
  #closing = false;
  #retiring = false;
  #detached = false;
  /** The sandbox is behind with reading answers: no further request is taken until it has caught up. */
  #behind = false;

  constructor({ socket, transport, limits, handler }: Http1Options) {
    this.#socket = socket;
    this.#transport = transport;
    this.#limits = limits;
    this.#handler = handler;
    this.#head = new HeadBuffer(limits.headOctets, "request");
    readDirectly(socket, this.#onData, this.#onHead);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("timeout", this.#onTimeout);
    socket.on("error", ignoreError);
    socket.on("close", this.#onClose);
    this.#shortest = Math.min(limits.bodyIdleMs, limits.keepAliveMs);
    this.#timer = new SocketTimer(socket, limits.headMs);
  }

  /** No further requests: closes at once when idle, else behind the current answer. */
  drain(): void {
    this.#closing = true;
    if (this.#exchange === undefined) this.#socket.destroySoon();
  }

  /** The answer to the current request, or to the next one, says that the connection ends. */
  retire(): void {
    this.#retiring = true;
  }

  /** No request is read behind the current one. */
  get closing(): boolean {
    return this.#closing || this.#retiring || (this.#ended && this.#waiting.octets === 0);
  }

  readonly #onData = (chunk: Buffer): void => {
    const exchange = this.#exchange;
    if (this.#behind || (exchange === undefined && this.#waiting.octets > 0)) this.#hold(chunk);
    else if (exchange === undefined) this.#readHead(chunk);
    else if (!exchange.body.complete) this.#readBody(exchange, chunk);
    else this.#hold(chunk);
  };

  /** A head that comes whole and alone need not be copied: what it says is read at once. */
  readonly #onHead = (octets: Buffer): boolean => {
    const busy = this.#behind || this.#exchange !== undefined || this.#waiting.octets > 0;
    if (busy || this.#head.started || headEnd(octets) !== octets.length - 4) return false;
    this.#readHead(octets);
    return true;
  };

  #hold(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#waiting.push(chunk);
    if (this.#waiting.octets > MAX_WAITING) this.#socket.pause();
  }

  #readHead(chunk: Buffer): void {
    let request: ParsedRequest;
    let rest: Buffer;
    try {
      const whole = this.#head.push(chunk);
      if (whole === undefined) {
        this.#headTimer ??= setTimeout(
          () => this.#reject(new ProxyFault("request-timeout")),
          this.#limits.headMs,
        );
        return;
      }
      this.#endHeadTimer();
      request = parseRequest(whole.text, this.#limits);
      rest = whole.rest;
    } catch (error) {
      this.#reject(asFault(error));
      return;
    }
    const exchange = new Http1Exchange({
      server: this,
      socket: this.#socket,
      transport: this.#transport,
      request,
      limits: this.#limits,
    });
    this.#exchange = exchange;
    this.#timer.wakeAfter(this.#shortest);
    // What came with the head is read first: a body that is malformed at once is refused before anything is forwarded.
    if (exchange.body.complete) this.#hold(rest);
    else if (rest.length > 0) this.#readBody(exchange, rest);
    if (this.#exchange === exchange && !this.#closing) this.#handler.onExchange(exchange);
  }

  #readBody(exchange: Http1Exchange, chunk: Buffer): void {
    try {
      const used = exchange.body.push(chunk);
      if (used < chunk.length) this.#hold(chunk.subarray(used));
    } catch (error) {
      this.#failBody(exchange, asFault(error));
      return;
    }
    if (exchange.body.overDiscarded) this.#lingerAndClose();
    else if (exchange.body.complete && exchange.answerEnded) this.#next(exchange);
  }

  /** The body can't be read on: whoever was handed the exchange answers; where nobody was yet, it is a malformed request. */
  #failBody(exchange: Http1Exchange, fault: ProxyFault): void {
    stopReading(this.#socket, this.#onData);
    this.#closing = true;
    if (exchange.onGone !== undefined) {
      exchange.gone(fault);
      if (exchange.answerEnded) this.#lingerAndClose();
    } else {
      this.#exchange = undefined;
      this.#reject(fault);
    }
  }

  /** Answers what is no request, and closes. */
  #reject(fault: ProxyFault): void {
    this.#endHeadTimer();
    stopReading(this.#socket, this.#onData);
    this.#closing = true;
    this.#handler.onMalformed(fault, (head, body) => {
      if (this.#socket.destroyed) return;
      this.#socket.write(
        headText(head, ["Content-Length", String(body.length), "Connection", "close"]),
        "latin1",
      );
      this.#socket.write(body);
      this.#lingerAndClose();
    });
  }

  /** The answer to `exchange` is written: on to the next request, if this one is read and the connection may live. */
  finished(exchange: Http1Exchange): void {
    if (this.#exchange !== exchange || this.#detached) return;
    if (!exchange.keepAlive) this.#lingerAndClose();
    else if (exchange.body.complete) this.#next(exchange);
  }

  #next(exchange: Http1Exchange): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    if (this.#closing) return this.#lingerAndClose();
    this.#timer.idle(this.#limits.keepAliveMs);
    this.#timer.wakeAfter(this.#shortest);
    if (this.#socket.writableNeedDrain) {
      // Or a pipeline of requests whose answers nobody reads would fill the memory.
      this.#behind = true;
      this.#socket.pause();
    } else if (this.#waiting.octets > 0) {
      // Not from within the answer's own call stack: a pipeline of a thousand requests would nest as deep.
      process.nextTick(this.#proceed);
    } else {
      this.#proceed();
    }
  }

  readonly #proceed = (): void => {
    if (this.#socket.destroyed || this.#detached || this.#exchange !== undefined) return;
    this.#socket.resume();
    if (this.#waiting.octets > 0) this.#onData(this.#waiting.take());
    // The sandbox half-closed behind what was waiting.
    if (this.#ended) this.#onEnd();
  };

  #lingerAndClose(): void {
    this.#closing = true;
    stopReading(this.#socket, this.#onData);
    lingerAndClose(this.#socket, this.#limits.bodyIdleMs);
  }

  detach(): ByteStream {
    const socket = this.#socket;
    this.#detached = true;
    this.#exchange = undefined;
    this.#endHalfClosedWatch?.();
    socket.pause();
    stopReading(socket, this.#onData);
    socket.off("end", this.#onEnd).off("drain", this.#onDrain);
    socket.off("timeout", this.#onTimeout).off("close", this.#onClose);
    socket.setTimeout(0);
    this.#handler.onHandedOver();
    if (this.#waiting.octets > 0) socket.unshift(this.#waiting.take());
    return socket;
  }

  readonly #onDrain = (): void => {
    if (this.#behind) {
      this.#behind = false;
      this.#proceed();
    } else {
      this.#exchange?.drained();
    }
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    const exchange = this.#exchange;
    if (exchange === undefined) {
      if (this.#closing || this.#behind || this.#waiting.octets > 0) return;
      if (this.#head.started) this.#reject(new ProxyFault("request-malformed"));
      else this.#lingerAndClose();
    } else if (!exchange.body.complete) {
      // The rest of the body can no longer arrive; whoever is sent it must see it cut.
      exchange.gone(undefined);
      this.#socket.destroySoon();
    } else {
      this.#endHalfClosedWatch?.();
      this.#endHalfClosedWatch = watchHalfClosed(this.#socket, exchange, () => this.#exchange === exchange);
    }
  };

  readonly #onTimeout = (): void => {
    this.#timer.fired();
    const exchange = this.#exchange;
    if (exchange === undefined) {
      const { idleLeft } = this.#timer;
      if (idleLeft > 0) this.#timer.wakeAfter(idleLeft);
      else if (this.#socket.writableLength > 0) this.#socket.destroy();
      else if (!this.#head.started) this.#socket.destroySoon();
      return;
    }
    const left = this.#limits.bodyIdleMs - exchange.stalledFor();
    if (left <= 0) {
      const { answered } = exchange;
      this.#closing = true;
      exchange.gone(new ProxyFault("request-timeout"));
      if (answered) this.#socket.destroy();
    } else {
      this.#timer.wakeAfter(left);
    }
  };

  readonly #onClose = (): void => {
    this.#endHeadTimer();
    this.#endHalfClosedWatch?.();
    this.#exchange?.gone(undefined);
    this.#exchange = undefined;
    this.#handler.onClose();
  };

  #endHeadTimer(): void {
    clearTimeout(this.#headTimer);
    this.#headTimer = undefined;
  }
}

const MAX_WAITING = 64 * 1024;
