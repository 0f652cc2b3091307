// The body of an answer as a stream brings it: held back by flow control until its sink is there, then streamed with
// backpressure; it ends in order only where the origin ended it.

import type { ClientHttp2Stream } from "node:http2";
import { type HeaderPairs, safeTrailers } from "../net/headers.ts";
import type { BodyLength, BodySink, BodySource } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";

type Options = {
  readonly stream: ClientHttp2Stream;
  readonly length: BodyLength;
  /** Nothing follows the head. */
  readonly ended: boolean;
  /** Whether the origin sent END_STREAM. */
  readonly whole: () => boolean;
  readonly onEnd: () => void;
  readonly onFault: (reason: Reason) => void;
  readonly onStop: () => void;
};

export class StreamBody implements BodySource {
  readonly length: BodyLength;
  readonly #options: Options;
  #remaining: number | undefined;
  #sink: BodySink | undefined;
  #failed: Reason | undefined;
  trailers: HeaderPairs = [];
  paused = true;
  movedAt = Date.now();
  /** The last octet has been taken from the stream. */
  complete = false;
  /** The sink has been told so. */
  ended = false;

  constructor(options: Options) {
    this.#options = options;
    const { stream, length, ended } = options;
    this.length = length;
    this.#remaining = length.kind === "known" ? length.octets : length.kind === "none" ? 0 : undefined;
    // Octets wait in the stream, and past its window with the origin, until somebody wants them.
    if (!ended && this.#remaining !== 0) return;
    this.paused = false;
    this.#listen(stream);
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.on("data", this.#onData);
    stream.on("end", this.#onEnd);
  }

  readonly #onData = (data: Buffer): void => {
    this.movedAt = Date.now();
    if (this.#remaining !== undefined) {
      if (data.length > this.#remaining) return this.#options.onFault("upstream-malformed");
      this.#remaining -= data.length;
    }
    if (this.#sink === undefined || this.#sink.write(data)) return;
    this.#pause(this.#sink);
  };

  readonly #onEnd = (): void => {
    if (this.#failed !== undefined) return;
    const short = this.#remaining !== undefined && this.#remaining !== 0;
    if (short || !this.#options.whole()) return this.#options.onFault("upstream-reset");
    this.complete = true;
    this.#end();
  };

  pipe(sink: BodySink): void {
    this.#sink = sink;
    if (this.#failed !== undefined) return sink.abort(this.#failed);
    if (this.complete) return this.#end();
    this.movedAt = Date.now();
    if (!this.paused) return;
    this.paused = false;
    this.#listen(this.#options.stream);
  }

  stop(): void {
    this.#sink = undefined;
    if (!this.complete) this.#options.onStop();
  }

  fail(reason: Reason): void {
    if (this.complete || this.#failed !== undefined) return;
    this.#failed = reason;
    this.#sink?.abort(reason);
  }

  #end(): void {
    if (this.#sink === undefined || this.ended) return;
    this.ended = true;
    this.#sink.end(safeTrailers(this.trailers));
    this.#options.onEnd();
  }

  #pause(sink: BodySink): void {
    this.paused = true;
    this.#options.stream.pause();
    sink.onDrain = this.#resume;
  }

  readonly #resume = (): void => {
    if (!this.paused) return;
    this.paused = false;
    this.movedAt = Date.now();
    this.#options.stream.resume();
  };
}
