// Writes one HTTP/1 answer with framing of our own; a body that is cut short leaves the connection visibly cut.

import type { HeaderPairs } from "../net/headers.ts";
import { fieldText, lastChunk } from "../net/http1-text.ts";
import { MessageOutput } from "../net/http1-write.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { BodyLength, BodySink, ResponseHead } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";
import type { ByteStream } from "./downstream.ts";

type Options = {
  readonly socket: ByteStream;
  readonly request: ParsedRequest;
  readonly head: ResponseHead;
  readonly declared: BodyLength;
  readonly keepAlive: boolean;
  /** `cut`: what was written is not the whole answer. */
  readonly onEnd: (cut: Reason | undefined) => void;
};

export class Http1Responder implements BodySink {
  readonly #socket: ByteStream;
  readonly #chunked: boolean;
  readonly #out: MessageOutput;
  readonly #bodiless: boolean;
  readonly #onEnd: (cut: Reason | undefined) => void;
  #left: number | undefined;
  #onDrain: (() => void) | undefined;
  readonly keepAlive: boolean;
  octets: number;
  ended = false;
  /** When the sandbox stopped reading, or 0. */
  blockedSince = 0;

  constructor({ socket, request, head, declared, keepAlive, onEnd }: Options) {
    this.#socket = socket;
    this.#onEnd = onEnd;
    const http11 = request.head.version !== "1.0";
    this.#bodiless = request.head.method === "HEAD" || head.status === 204 || head.status === 304;
    this.#chunked = declared.kind === "chunked" && http11 && !this.#bodiless;
    // What ends with the origin's connection ends with this one: chunks of ours would make a cut body look whole.
    const unsized = declared.kind === "close" || (declared.kind === "chunked" && !http11);
    this.keepAlive = keepAlive && (this.#bodiless || !unsized);
    if (!this.#bodiless && !unsized && !this.#chunked)
      this.#left = declared.kind === "known" ? declared.octets : 0;
    this.#out = new MessageOutput(socket, this.#chunked);
    const text = headText(head, this.#framing(head.status, declared, http11));
    this.octets = text.length;
    this.#out.text(text);
    if (this.#chunked) socket.cork();
  }

  /** What the answer began with leaves now. Called once. */
  flush(): void {
    if (!this.#socket.destroyed) this.#out.flush();
    if (this.#chunked) this.#socket.uncork();
  }

  #framing(status: number, declared: BodyLength, http11: boolean): string[] {
    const framing: string[] = [];
    // A 204 states no length (RFC 9110 §8.6).
    if (declared.kind === "known" && status !== 204) framing.push("Content-Length", String(declared.octets));
    else if (this.#chunked) framing.push("Transfer-Encoding", "chunked");
    else if (declared.kind === "none" && !this.#bodiless) framing.push("Content-Length", "0");
    if (!this.keepAlive) framing.push("Connection", "close");
    else if (!http11) framing.push("Connection", "keep-alive");
    return framing;
  }

  get onDrain(): (() => void) | undefined {
    return this.#onDrain;
  }

  set onDrain(resume: (() => void) | undefined) {
    this.#onDrain = resume;
    this.blockedSince = resume === undefined ? 0 : Date.now();
  }

  write(chunk: Buffer): boolean {
    if (this.ended || this.#bodiless || chunk.length === 0 || this.#socket.destroyed) return true;
    if (this.#left !== undefined) this.#left -= chunk.length;
    this.octets += chunk.length;
    return this.#out.octets(chunk);
  }

  end(trailers: HeaderPairs): void {
    if (this.ended) return;
    if (this.#left !== undefined && this.#left !== 0) return this.abort("upstream-malformed");
    this.ended = true;
    const text = this.#chunked ? lastChunk(trailers) : "";
    this.octets += text.length;
    this.#out.text(text);
    this.#out.flush();
    this.#onEnd(undefined);
  }

  abort(reason: Reason): void {
    if (this.ended) return;
    this.ended = true;
    this.#onEnd(reason);
  }
}

/** A response head as it goes out, with the blank line. */
export function headText(head: ResponseHead, framing: HeaderPairs): string {
  const line = "HTTP/1.1 " + String(head.status) + " " + head.reason + "\r\n";
  return line + fieldText(head.headers) + fieldText(framing) + "\r\n";
}
