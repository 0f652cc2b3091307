// One exchange with an origin over HTTP/2: one stream of a connection that others share. What goes wrong with it is its own,
// and is told by the stream's code or the connection's fault.

import { type ClientHttp2Stream, constants } from "node:http2";
import type { Address } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import type { HeaderPairs } from "../net/headers.ts";
import { octetsOf } from "../net/http2-fields.ts";
import { checkAnswerFields, readResponse, requestPairs } from "../net/http2-response.ts";
import type { Limits } from "../net/limits.ts";
import type { ResponseHead } from "../net/message.ts";
import { REASONS } from "../net/reasons.ts";
import type { UpstreamAnswer, UpstreamConnection, UpstreamRequest } from "./engine.ts";
import { streamFault } from "./http2-faults.ts";
import { neverIndexed, StreamWriter } from "./http2-request.ts";
import { StreamBody } from "./http2-response.ts";

/** The connection that an exchange runs on. */
export type Carrier = {
  readonly address: Address | undefined;
  readonly limits: Limits;
  /** Takes new streams. */
  readonly open: boolean;
  /** Why it broke, where it did. */
  readonly fault: ProxyFault | undefined;
  /** Streams above were not processed, says the origin. */
  readonly lastProcessed: number;
  request(pairs: string[], bodiless: boolean): ClientHttp2Stream;
  /** The exchange is over, and its place free. */
  released(): void;
  /** No more exchanges over this connection. */
  retire(): void;
  http1Required(): void;
};

export class Http2Exchange implements UpstreamConnection {
  readonly address: Address | undefined;
  readonly reused: boolean;
  readonly #carrier: Carrier;
  #request: UpstreamRequest | undefined;
  #stream: ClientHttp2Stream | undefined;
  #writer: StreamWriter | undefined;
  #body: StreamBody | undefined;
  #reject: ((fault: ProxyFault) => void) | undefined;
  #error: Error | undefined;
  #informed = 0;
  /** The origin sent END_STREAM. */
  #whole = false;
  #over = false;
  #released = false;
  /** For the whole of the answer's head, informational ones included. */
  #headTimer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  answering = false;
  unprocessed = false;

  constructor(carrier: Carrier, reused: boolean) {
    this.#carrier = carrier;
    this.address = carrier.address;
    this.reused = reused;
  }

  get octetsOut(): number {
    return this.#writer?.octets ?? 0;
  }

  send(request: UpstreamRequest, inform: (head: ResponseHead) => void): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#over || this.#request !== undefined || !this.#carrier.open) {
        this.unprocessed = this.#request === undefined;
        this.abort();
        reject(new ProxyFault("upstream-reset"));
        return;
      }
      this.#request = request;
      this.#reject = reject;
      try {
        this.#start(request, inform, resolve);
      } catch (error) {
        this.#fail(new ProxyFault("internal-error", error));
        if (this.#stream === undefined) this.#release();
      }
    });
  }

  #start(
    request: UpstreamRequest,
    inform: (head: ResponseHead) => void,
    resolve: (answer: UpstreamAnswer) => void,
  ): void {
    const { length } = request.body;
    const pairs = requestPairs({ ...request, scheme: "https", length });
    const stream = this.#carrier.request(neverIndexed(pairs, request.sensitive), length.kind === "none");
    this.#stream = stream;
    this.#markEnd(stream);
    const guarded = (read: () => void): void => {
      if (this.#over) return;
      this.answering = true;
      try {
        read();
      } catch (error) {
        const fault = error instanceof ProxyFault ? error : new ProxyFault("internal-error", error);
        this.#fail(fault, constants.NGHTTP2_PROTOCOL_ERROR);
      }
    };
    // Node hands on the raw pairs behind what it documents.
    const onHead = (_fields: object, flags: number, raw?: HeaderPairs): void =>
      guarded(() => this.#readHead({ pairs: raw ?? [], flags }, inform, resolve));
    stream.on("headers", onHead);
    stream.on("response", onHead);
    stream.on("trailers", (_fields: object, _flags: number, raw?: HeaderPairs) =>
      guarded(() => this.#readTrailers(raw ?? [])),
    );
    stream.on("drain", () => this.#writer?.drained());
    stream.on("error", (error) => (this.#error = error));
    stream.on("close", () => this.#onClose());
    this.#writer = new StreamWriter(stream, request.body, {
      end: () => this.#awaitHead(),
      cut: () => this.abort(),
    });
    this.#watchIn(this.#carrier.limits.bodyIdleMs);
    this.#writer.start(octetsOf(pairs));
    if (this.#writer.ended) this.#awaitHead();
  }

  /**
   * A stream that was reset with NO_ERROR ends, to whoever reads it, as one that was ended. What tells them apart is that
   * END_STREAM comes while the stream is not closed; where it is not seen, the body counts as cut.
   */
  #markEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (chunk === null && !stream.closed) this.#whole = true;
      return push(chunk, encoding);
    };
  }

  #awaitHead(): void {
    if (this.#over || this.#body !== undefined) return;
    this.#headTimer ??= setTimeout(
      () => this.#stalled(new ProxyFault("upstream-read-timeout")),
      this.#carrier.limits.upstreamHeadMs,
    );
  }

  #readHead(
    { pairs, flags }: { pairs: HeaderPairs; flags: number },
    inform: (head: ResponseHead) => void,
    resolve: (answer: UpstreamAnswer) => void,
  ): void {
    const stream = this.#stream;
    const request = this.#request;
    if (stream === undefined || request === undefined || this.#body !== undefined)
      throw new ProxyFault("upstream-malformed");
    const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const { head, declared, length } = readResponse(pairs, this.#carrier.limits, {
      method: request.method,
      ended,
    });
    if (head.status < 200) {
      if (ended || ++this.#informed > MAX_INFORMED) throw new ProxyFault("upstream-malformed");
      return inform(head);
    }
    clearTimeout(this.#headTimer);
    this.#body = new StreamBody({
      stream,
      length,
      ended,
      whole: () => this.#whole,
      onEnd: () => this.#settle(),
      onFault: (reason) => this.#fail(new ProxyFault(reason), constants.NGHTTP2_PROTOCOL_ERROR),
      onStop: () => this.abort(),
    });
    resolve({ head, declared, body: this.#body, takeover: neverUpgraded });
  }

  #readTrailers(pairs: HeaderPairs): void {
    if (this.#body === undefined) throw new ProxyFault("upstream-malformed");
    checkAnswerFields(pairs, this.#carrier.limits);
    this.#body.trailers = pairs;
  }

  /** The answer is through. What is left of the request is not waited for; what was written goes out within a bound. */
  #settle(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#headTimer);
    if (this.#writer?.ended === true) return;
    this.#writer?.abandon();
    this.#request?.body.stop();
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  /** Of this stream alone; before anything was sent, whoever does not want the connection leaves it to nobody else. */
  abort(): void {
    if (this.#request !== undefined) return this.#fail(new ProxyFault("upstream-reset"));
    if (this.#over) return;
    this.#over = true;
    this.#carrier.retire();
    this.#release();
  }

  #watchIn(ms: number): void {
    this.#watch = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    const { bodyIdleMs } = this.#carrier.limits;
    if (this.#over) return this.#leave();
    const body = this.#body;
    const writer = this.#writer;
    const sending = body !== undefined && !body.complete && !body.paused;
    // Silence is the origin's fault where it should send its body, or take in ours; what still goes up is no silence.
    const since = sending ? Math.max(body.movedAt, writer?.movedAt ?? 0) : (writer?.blockedSince ?? 0);
    const left = since === 0 ? bodyIdleMs : since + bodyIdleMs - Date.now();
    if (left <= 0) {
      this.#stalled(new ProxyFault("upstream-read-timeout"));
      this.#watchIn(LAST_WORDS_MS);
    } else this.#watchIn(left);
  }

  /** A stream that was closed stays until that has been said, which is as long as an origin likes that reads nothing. */
  #leave(): void {
    if (this.#stream?.closed !== true) {
      this.#stream?.close(constants.NGHTTP2_CANCEL);
      this.#watchIn(LAST_WORDS_MS);
      return;
    }
    this.#carrier.retire();
    this.#stream.destroy();
  }

  /** The whole connection may have died without a word: others are not to wait on it as well. */
  #stalled(fault: ProxyFault): void {
    this.#carrier.retire();
    this.#fail(fault);
  }

  #fail(fault: ProxyFault, code: number = constants.NGHTTP2_CANCEL): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#headTimer);
    this.#writer?.abandon();
    if (this.#body === undefined) this.#reject?.(fault);
    else this.#body.fail(fault.reason);
    this.#stream?.close(code);
    this.#request?.body.stop();
  }

  #onClose(): void {
    clearTimeout(this.#watch);
    this.#release();
    if (this.#body?.complete !== true) return this.#fail(this.#whyClosed());
    // The answer waits for its sink; the rest of the request is wanted by nobody.
    if (this.#writer?.ended === true) return;
    this.#writer?.abandon();
    this.#request?.body.stop();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#carrier.released();
  }

  #whyClosed(): ProxyFault {
    const { fault, lastProcessed } = this.#carrier;
    const { id, rstCode = 0 } = this.#stream ?? {};
    const refused = rstCode === constants.NGHTTP2_REFUSED_STREAM || rstCode === HTTP_1_1_REQUIRED;
    // A stream that was never given a number was never sent.
    if (refused || id === undefined || id > lastProcessed) {
      this.unprocessed = !this.answering;
      if (rstCode === HTTP_1_1_REQUIRED) this.#carrier.http1Required();
      return new ProxyFault("upstream-reset", this.#error);
    }
    if (fault !== undefined) return fault;
    return streamFault(rstCode, this.#error, this.#body !== undefined);
  }
}

function neverUpgraded(): never {
  throw new ProxyFault("internal-error", REASONS["upstream-upgrade-failed"].text);
}

const MAX_INFORMED = 16;
export const LAST_WORDS_MS = 1_000;
const HTTP_1_1_REQUIRED = constants.NGHTTP2_HTTP_1_1_REQUIRED;
