// The body of a request as it arrives: held within a bound until somebody wants it, then streamed with backpressure, or
// read away.

import type { ProxyFault } from "../net/fault.ts";
import { ChunkedDecoder } from "../net/http1-chunked.ts";
import type { Limits } from "../net/limits.ts";
import type { BodyLength, BodySink, BodySource } from "../net/message.ts";
import { Pieces } from "../net/pieces.ts";
import type { ByteStream } from "./downstream.ts";

type Options = { readonly length: BodyLength; readonly socket: ByteStream; readonly limits: Limits };

export class RequestBody implements BodySource {
  readonly length: BodyLength;
  readonly #socket: ByteStream;
  readonly #decoder: ChunkedDecoder | undefined;
  #remaining: number;
  #held: Pieces | undefined;
  #sink: BodySink | undefined;
  #failed: { readonly fault: ProxyFault | undefined } | undefined;
  #discarded: number | undefined;
  #movedAt: number;
  #paused = false;
  complete: boolean;

  constructor({ length, socket, limits }: Options) {
    this.length = length;
    this.#socket = socket;
    this.#decoder =
      length.kind === "chunked" ? new ChunkedDecoder("chunk-malformed", limits.headFields) : undefined;
    this.#remaining = length.kind === "known" ? length.octets : 0;
    this.complete = length.kind === "none";
    if (!this.complete) this.#held = new Pieces();
    this.#movedAt = this.complete ? 0 : Date.now();
  }

  /** Takes what belongs to the body and answers with how much of `chunk` that was. */
  push(chunk: Buffer): number {
    this.#movedAt = Date.now();
    let used: number;
    if (this.#decoder === undefined) {
      used = Math.min(chunk.length, this.#remaining);
      this.#remaining -= used;
      if (used > 0) this.#deliver(used === chunk.length ? chunk : chunk.subarray(0, used));
      this.complete = this.#remaining === 0;
    } else {
      used = this.#decoder.push(chunk, (data) => this.#deliver(data));
      this.complete = this.#decoder.done;
    }
    if (this.complete) this.#sink?.end(this.#decoder?.trailers ?? []);
    return used;
  }

  #deliver(data: Buffer): void {
    if (this.#discarded !== undefined) {
      this.#discarded += data.length;
    } else if (this.#held !== undefined) {
      this.#held.push(data);
      if (this.#held.octets > MAX_HELD) this.#pause();
    } else if (this.#sink?.write(data) === false) {
      this.#pause();
      this.#sink.onDrain = () => this.#resume();
    }
  }

  pipe(sink: BodySink): void {
    const held = this.#held;
    this.#held = undefined;
    if (this.#failed !== undefined) return sink.abort(this.#failed.fault?.reason ?? "request-malformed");
    this.#sink = sink;
    const room = held === undefined || held.octets === 0 || sink.write(held.take());
    if (this.complete) sink.end(this.#decoder?.trailers ?? []);
    else if (room) this.#resume();
    else {
      this.#pause();
      sink.onDrain = () => this.#resume();
    }
  }

  /** Nobody wants the rest: it is read away, within a bound. */
  stop(): void {
    this.#sink = undefined;
    this.#held = undefined;
    this.#discarded ??= 0;
    this.#resume();
  }

  /** What is left, as far as known, is little enough to read away. */
  get discardable(): boolean {
    return this.#failed === undefined && (this.length.kind === "chunked" || this.#remaining <= MAX_DISCARD);
  }

  get overDiscarded(): boolean {
    return this.#discarded !== undefined && this.#discarded > MAX_DISCARD;
  }

  fail(fault: ProxyFault | undefined): void {
    if (this.complete || this.#failed !== undefined) return;
    this.#failed = { fault };
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.abort(fault?.reason ?? "request-malformed");
  }

  stalledFor(): number {
    return this.complete || this.#paused ? 0 : Date.now() - this.#movedAt;
  }

  #pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#movedAt = Date.now();
    this.#socket.resume();
  }
}

const MAX_HELD = 64 * 1024;
const MAX_DISCARD = 256 * 1024;
