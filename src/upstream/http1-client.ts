// The HTTP/1.1 engine towards origins: one connection, one exchange at a time. Answers are read strictly; a connection
// that said anything unexpected is never used again.

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import { readDirectly, stopReading } from "../net/direct-read.ts";
import { asFault, ProxyFault } from "../net/fault.ts";
import { HeadBuffer } from "../net/http1-head-buffer.ts";
import { parseResponse, type ParsedResponse } from "../net/http1-head.ts";
import type { Limits } from "../net/limits.ts";
import type { ResponseHead } from "../net/message.ts";
import { copyOf } from "../net/slab.ts";
import type { UpstreamAnswer, UpstreamConnection, UpstreamRequest } from "./engine.ts";
import { RequestWriter } from "./http1-request.ts";
import { ResponseBody } from "./http1-response.ts";

type Options = {
  readonly socket: Socket;
  readonly address: Address | undefined;
  readonly limits: Limits;
  /** The connection is fit for another exchange. */
  readonly onIdle: (client: Http1Client) => void;
  readonly onClose: (client: Http1Client) => void;
};

/** The exchange a connection is busy with. */
type Exchange = {
  readonly request: UpstreamRequest;
  readonly writer: RequestWriter;
  readonly inform: (head: ResponseHead) => void;
  readonly resolve: (answer: UpstreamAnswer) => void;
  readonly reject: (fault: ProxyFault) => void;
  informed: number;
  answer: ParsedResponse | undefined;
  body: ResponseBody | undefined;
  movedAt: number;
  /** When the answer's head must be whole, informational ones included: trickling does not prolong it. 0: not awaited yet. */
  headDue: number;
};

export class Http1Client implements UpstreamConnection {
  readonly address: Address | undefined;
  /** HTTP/1.1 has no way of saying so. */
  readonly unprocessed = false;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #onIdle: (client: Http1Client) => void;
  #exchange: Exchange | undefined;
  #writer: RequestWriter | undefined;
  readonly #head: HeadBuffer;
  #headTimer: NodeJS.Timeout | undefined;
  #broken: ProxyFault | undefined;
  #detached = false;
  answering = false;
  reused = false;

  constructor({ socket, address, limits, onIdle, onClose }: Options) {
    this.#socket = socket;
    this.address = address;
    this.#limits = limits;
    this.#onIdle = onIdle;
    this.#head = new HeadBuffer(limits.headOctets, "response");
    readDirectly(socket, this.#onData, this.#onHeads);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("timeout", this.#onTimeout);
    socket.on("error", (error) => this.#fail(new ProxyFault("upstream-reset", error)));
    socket.on("close", () => {
      this.#fail(new ProxyFault("upstream-reset"));
      onClose(this);
    });
    socket.setTimeout(limits.bodyIdleMs);
  }

  get octetsOut(): number {
    return this.#writer?.octets ?? 0;
  }

  /** Open, silent and idle. */
  get usable(): boolean {
    return this.#broken === undefined && this.#exchange === undefined && !this.#socket.destroyed;
  }

  send(request: UpstreamRequest, inform: (head: ResponseHead) => void): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      // Of the current answer, also where it never comes: the last one's octets say nothing about it.
      this.answering = false;
      if (!this.usable) {
        reject(this.#broken ?? new ProxyFault("upstream-reset"));
        return;
      }
      const writer = new RequestWriter(this.#socket, request, () => {
        this.#awaitHead();
        this.#settle();
      });
      this.#writer = writer;
      this.#exchange = {
        request,
        writer,
        inform,
        resolve,
        reject,
        informed: 0,
        answer: undefined,
        body: undefined,
        movedAt: 0,
        headDue: 0,
      };
      writer.start();
      if (writer.ended) this.#awaitHead();
    });
  }

  #awaitHead(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.body !== undefined || exchange.headDue !== 0) return;
    const { upstreamHeadMs } = this.#limits;
    exchange.headDue = performance.now() + upstreamHeadMs;
    this.#headTimer ??= setTimeout(this.#onHeadTimer, upstreamHeadMs);
  }

  /** One timer over many exchanges: it looks whether the current one is late, and comes again if it is not. */
  readonly #onHeadTimer = (): void => {
    this.#headTimer = undefined;
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.body !== undefined || exchange.headDue === 0) return;
    const left = exchange.headDue - performance.now();
    if (left <= 0) this.#fail(new ProxyFault("upstream-read-timeout"));
    else this.#headTimer = setTimeout(this.#onHeadTimer, Math.ceil(left));
  };

  abort(): void {
    this.#fail(new ProxyFault("upstream-reset"));
  }

  readonly #onData = (chunk: Buffer): void => {
    const exchange = this.#exchange;
    if (exchange === undefined) return this.abort();
    this.answering = true;
    try {
      if (exchange.body === undefined) this.#readHeads(exchange, chunk);
      else {
        exchange.movedAt = Date.now();
        this.#readBody(exchange.body, chunk);
      }
    } catch (error) {
      this.#fail(asFault(error));
    }
  };

  /** Heads are read where they lie; what is kept of them, and of what is behind them, is copied. */
  readonly #onHeads = (octets: Buffer): boolean => {
    if (this.#exchange === undefined || this.#exchange.body !== undefined) return false;
    this.#onData(octets);
    return true;
  };

  #readHeads(exchange: Exchange, chunk: Buffer): void {
    let bytes = chunk;
    while (bytes.length > 0) {
      const whole = this.#head.push(bytes);
      if (whole === undefined) return;
      const parsed = parseResponse(whole.text, this.#limits, exchange.request.method);
      bytes = whole.rest;
      if (parsed.head.status >= 200 || parsed.head.status === 101)
        return this.#answer(exchange, parsed, bytes);
      if (++exchange.informed > MAX_INFORMED) throw new ProxyFault("upstream-malformed");
      exchange.inform(parsed.head);
    }
  }

  #answer(exchange: Exchange, parsed: ParsedResponse, behind: Buffer): void {
    const rest = behind.length === 0 ? behind : copyOf(behind);
    const upgraded = parsed.head.status === 101;
    if (upgraded && !upgradeAgreed(exchange.request.upgrade, parsed.upgrade)) {
      throw new ProxyFault("upstream-upgrade-failed");
    }
    const body = new ResponseBody({ length: parsed.length, socket: this.#socket, limits: this.#limits });
    body.onStop = () => {
      if (!body.complete) this.abort();
    };
    body.onEnd = () => this.#settle();
    exchange.answer = parsed;
    exchange.body = body;
    if (upgraded) this.#socket.pause();
    exchange.resolve({
      head: parsed.head,
      declared: parsed.declared,
      body,
      takeover: () => this.#detach(rest),
    });
    // The body holds what came with the head until it is given its sink.
    if (!upgraded && rest.length > 0) this.#readBody(body, rest);
    if (!body.complete) exchange.movedAt = Date.now();
  }

  #readBody(body: ResponseBody, chunk: Buffer): void {
    // More than was announced: the answer stands, the connection doesn't.
    if (body.push(chunk) < chunk.length) this.#broken = new ProxyFault("upstream-malformed");
    this.#settle();
  }

  /** Where both messages are through, the connection is idle again, or done with. */
  #settle(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || this.#detached || exchange.body?.ended !== true) return;
    this.#exchange = undefined;
    const { ended } = exchange.writer;
    this.#writer = undefined;
    if (!ended) exchange.request.body.stop();
    if (
      !ended ||
      exchange.answer?.keepAlive !== true ||
      this.#broken !== undefined ||
      this.#socket.destroyed
    ) {
      this.#broken ??= new ProxyFault("upstream-reset");
      exchange.writer.abandon();
      this.#socket.destroy();
      return;
    }
    this.reused = true;
    this.#onIdle(this);
  }

  readonly #onEnd = (): void => {
    const exchange = this.#exchange;
    if (exchange?.body !== undefined && exchange.answer?.length.kind === "close") {
      this.#broken ??= new ProxyFault("upstream-reset");
      exchange.body.finish();
    } else {
      this.#fail(new ProxyFault("upstream-reset"));
    }
  };

  readonly #onDrain = (): void => this.#exchange?.writer.drained();

  readonly #onTimeout = (): void => {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const { body, writer } = exchange;
    // Silence is the origin's fault where it should send its body, or take in ours.
    const sending = body !== undefined && !body.complete && !body.paused;
    const since = sending ? exchange.movedAt : writer.blockedSince;
    const left = since === 0 ? this.#limits.bodyIdleMs : since + this.#limits.bodyIdleMs - Date.now();
    if (left <= 0) this.#fail(new ProxyFault("upstream-read-timeout"));
    else this.#socket.setTimeout(left);
  };

  #fail(fault: ProxyFault): void {
    this.#broken ??= fault;
    if (this.#detached) return;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#socket.destroy();
    clearTimeout(this.#headTimer);
    if (exchange === undefined) return;
    exchange.writer.abandon();
    if (exchange.body === undefined) exchange.reject(fault);
    else exchange.body.fail(fault.reason);
    exchange.request.body.stop();
  }

  #detach(rest: Buffer): Socket {
    this.#detached = true;
    clearTimeout(this.#headTimer);
    const socket = this.#socket;
    stopReading(socket, this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("drain", this.#onDrain);
    socket.off("timeout", this.#onTimeout);
    socket.setTimeout(0);
    if (rest.length > 0) socket.unshift(rest);
    return socket;
  }
}

function upgradeAgreed(asked: string | undefined, given: string | undefined): boolean {
  return asked !== undefined && given !== undefined && asked.toLowerCase() === given.toLowerCase();
}

const MAX_INFORMED = 16;
