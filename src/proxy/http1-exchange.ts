// One request on an HTTP/1 connection, and whether the connection can be kept after its answer.

import { ProxyFault } from "../net/fault.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { Limits } from "../net/limits.ts";
import type { BodyLength, BodySink, ResponseHead } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { RequestBody } from "./http1-body.ts";
import { headText, Http1Responder } from "./http1-responder.ts";

/** The connection an exchange runs on. */
type Server = {
  readonly closing: boolean;
  finished(exchange: Http1Exchange): void;
  detach(): ByteStream;
};

type Options = {
  readonly server: Server;
  readonly socket: ByteStream;
  readonly transport: ByteStream;
  readonly request: ParsedRequest;
  readonly limits: Limits;
};

export class Http1Exchange implements DownstreamExchange {
  readonly request: ParsedRequest;
  readonly body: RequestBody;
  onGone: ((fault: ProxyFault | undefined) => void) | undefined;
  onAnswered: ((cut: Reason | undefined) => void) | undefined;
  /** `undefined` once the connection was handed over. */
  #server: Server | undefined;
  readonly #socket: ByteStream;
  readonly #transport: ByteStream;
  #responder: Http1Responder | undefined;
  #informed = 0;
  #continued = false;
  #gone = false;
  #last = false;

  constructor({ server, socket, transport, request, limits }: Options) {
    this.#server = server;
    this.#socket = socket;
    this.#transport = transport;
    this.request = request;
    this.body = new RequestBody({ length: request.length, socket, limits });
  }

  get octetsOut(): number {
    return this.#informed + (this.#responder?.octets ?? 0);
  }

  get answered(): boolean {
    return this.#responder !== undefined || this.#server === undefined;
  }

  get answerEnded(): boolean {
    return this.#responder?.ended === true;
  }

  /** As announced in the answer's head, unless the connection has been ended since. */
  get keepAlive(): boolean {
    return this.#responder?.keepAlive === true && !this.#gone;
  }

  last(): void {
    this.#last = true;
  }

  inform(head: ResponseHead): void {
    if (this.answered || this.#gone || this.request.head.version !== "1.1") return;
    if (head.status === 100) {
      if (!this.request.expectContinue || this.#continued) return;
      this.#continued = true;
    }
    const text = headText(head, []);
    this.#informed += text.length;
    this.#socket.write(text, "latin1");
  }

  respond(head: ResponseHead, declared: BodyLength, begin: (sink: BodySink) => void): void {
    const responder = new Http1Responder({
      socket: this.#socket,
      request: this.request,
      head,
      declared,
      keepAlive: this.#reusable(head.status),
      onEnd: (cut) => {
        this.onAnswered?.(cut);
        if (cut !== undefined) this.#reset();
        if (!this.body.complete) this.body.stop();
        this.#server?.finished(this);
      },
    });
    this.#responder = responder;
    begin(responder);
    responder.flush();
  }

  /** No last chunk, no close_notify, no FIN: nothing that could pass for an orderly end. */
  #reset(): void {
    this.#transport.resetAndDestroy();
    this.#socket.destroy();
  }

  /** What is left of the request can be read away, so that the next one is found. */
  #reusable(status: number): boolean {
    if (!this.request.keepAlive || this.#last || this.#gone || this.#server?.closing !== false) return false;
    // Node's agent and grpc-js forget a tunnel that was refused, open, and their process then lives as long as we keep it. With
    // credentials (407) they ask again.
    if (this.request.head.method === "CONNECT" && status !== 407) return false;
    if (this.body.complete) return true;
    // Without our 100 the body may never be sent, and the next request would be read as it.
    if (this.request.expectContinue && !this.#continued) return false;
    return this.body.discardable;
  }

  takeover(head: ResponseHead): ByteStream {
    const text = headText(head, []);
    this.#informed += text.length;
    this.#socket.write(text, "latin1");
    this.onGone = undefined;
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) throw new ProxyFault("internal-error");
    return server.detach();
  }

  drained(): void {
    const responder = this.#responder;
    const resume = responder?.onDrain;
    if (responder !== undefined) responder.onDrain = undefined;
    resume?.();
  }

  /** Milliseconds since the sandbox should have read or sent something; 0 while it is the origin's turn. */
  stalledFor(): number {
    const blocked = this.#responder?.blockedSince ?? 0;
    return blocked === 0 ? this.body.stalledFor() : Date.now() - blocked;
  }

  gone(fault: ProxyFault | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.body.fail(fault);
    this.onGone?.(fault);
  }
}
