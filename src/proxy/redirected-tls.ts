// A redirected TLS connection as the CONNECT that its sandbox would have sent, had it known of the proxy: judged, recorded
// and passed on by the same path. Nothing is written before its TLS but the alert that says no.

import type { Socket } from "node:net";
import type { ProxyFault } from "../net/fault.ts";
import { first } from "../net/headers.ts";
import { NONE, type ParsedRequest } from "../net/http1-head.ts";
import type { BodyLength, BodySink, BodySource, ResponseHead } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { alertFor } from "./hello.ts";
import { lingerAndClose } from "./linger.ts";

export type RedirectedTlsOptions = {
  /** Its ClientHello is still to be read. */
  readonly socket: Socket;
  /** `host:port` */
  readonly target: string;
  readonly stallMs: number;
};

export class RedirectedTls implements DownstreamExchange {
  readonly request: ParsedRequest;
  readonly body: BodySource = { length: NONE, pipe: () => {}, stop: () => {} };
  onGone: ((fault: ProxyFault | undefined) => void) | undefined;
  onAnswered: ((cut: Reason | undefined) => void) | undefined;
  octetsOut = 0;
  answered = false;
  readonly #socket: Socket;
  readonly #stallMs: number;

  constructor({ socket, target, stallMs }: RedirectedTlsOptions) {
    this.#socket = socket;
    this.#stallMs = stallMs;
    this.request = {
      head: { method: "CONNECT", target, version: "1.1", headers: [] },
      length: NONE,
      host: undefined,
      keepAlive: false,
      expectContinue: false,
      upgrade: undefined,
    };
    socket.once("close", () => this.onGone?.(undefined));
  }

  last(): void {}

  inform(): void {}

  /** A refusal: of its head the reason is all that TLS has a word for. */
  respond(head: ResponseHead, _declared: BodyLength, begin: (sink: BodySink) => void): void {
    const reason = first(head.headers, "sallyport-reason") as Reason;
    const alert = alertFor({ reason, auditId: undefined, state: "complete" });
    this.octetsOut = alert.length;
    this.answered = true;
    this.#socket.write(alert);
    lingerAndClose(this.#socket, this.#stallMs);
    const answered = (): void => this.onAnswered?.(undefined);
    begin({ write: () => true, end: answered, abort: answered, onDrain: undefined });
  }

  takeover(): ByteStream {
    this.onGone = undefined;
    this.answered = true;
    return this.#socket;
  }
}
