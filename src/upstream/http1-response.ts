// The body of an answer as it arrives: held until its sink is there, then streamed with backpressure; never longer or
// shorter than announced without being seen so.

import type { Socket } from "node:net";
import { safeTrailers, type HeaderPairs } from "../net/headers.ts";
import { ChunkedDecoder } from "../net/http1-chunked.ts";
import type { Limits } from "../net/limits.ts";
import type { BodyLength, BodySink, BodySource } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";

type Options = { readonly length: BodyLength; readonly socket: Socket; readonly limits: Limits };

export class ResponseBody implements BodySource {
  readonly length: BodyLength;
  readonly #socket: Socket;
  readonly #decoder: ChunkedDecoder | undefined;
  #remaining: number;
  #held: Buffer[] | undefined;
  #heldOctets = 0;
  #sink: BodySink | undefined;
  #failed: Reason | undefined;
  paused = false;
  /** The last octet has arrived. */
  complete: boolean;
  /** The sink has been told so. */
  ended = false;
  onStop: (() => void) | undefined;
  onEnd: (() => void) | undefined;

  constructor({ length, socket, limits }: Options) {
    this.length = length;
    this.#socket = socket;
    this.#decoder =
      length.kind === "chunked" ? new ChunkedDecoder("upstream-malformed", limits.headFields) : undefined;
    this.#remaining = length.kind === "known" ? length.octets : 0;
    this.complete = length.kind === "none" || (length.kind === "known" && length.octets === 0);
  }

  /** Takes what belongs to the body and answers with how much of `chunk` that was. */
  push(chunk: Buffer): number {
    let used = 0;
    if (this.complete) return used;
    if (this.#decoder !== undefined) {
      used = this.#decoder.push(chunk, (data) => this.#deliver(data));
      this.complete = this.#decoder.done;
    } else if (this.length.kind === "known") {
      used = Math.min(chunk.length, this.#remaining);
      this.#remaining -= used;
      this.#deliver(used === chunk.length ? chunk : chunk.subarray(0, used));
      this.complete = this.#remaining === 0;
    } else {
      used = chunk.length;
      this.#deliver(chunk);
    }
    if (this.complete) this.#end();
    return used;
  }

  /** The connection ended, and with it a body without a length. */
  finish(): void {
    this.complete = true;
    this.#end();
  }

  #deliver(data: Buffer): void {
    if (this.#sink === undefined) {
      // What came with the head is wanted at once: no need to stop reading for that.
      (this.#held ??= []).push(data);
      this.#heldOctets += data.length;
      if (this.#heldOctets > MAX_HELD) this.#pause();
    } else if (!this.#sink.write(data)) {
      this.#pause();
      this.#sink.onDrain = () => this.#resume();
    }
  }

  pipe(sink: BodySink): void {
    this.#sink = sink;
    let room = true;
    for (const chunk of this.#held ?? []) room = sink.write(chunk);
    this.#held = undefined;
    if (this.#failed !== undefined) sink.abort(this.#failed);
    else if (this.complete) this.#end();
    else if (room) this.#resume();
    else {
      this.#pause();
      sink.onDrain = () => this.#resume();
    }
  }

  stop(): void {
    this.#held = undefined;
    this.#sink = undefined;
    this.onStop?.();
  }

  fail(reason: Reason): void {
    if (this.complete || this.#failed !== undefined) return;
    this.#failed = reason;
    this.#sink?.abort(reason);
  }

  #end(): void {
    if (this.#sink === undefined || this.ended) return;
    this.ended = true;
    // The next exchange must find the connection reading.
    this.#resume();
    const trailers: HeaderPairs = this.#decoder === undefined ? [] : safeTrailers(this.#decoder.trailers);
    this.#sink.end(trailers);
    this.onEnd?.();
  }

  #pause(): void {
    this.paused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#socket.resume();
  }
}

const MAX_HELD = 64 * 1024;
