// The body of a request on a stream as it arrives: held within the stream's window until somebody wants it, then streamed, and
// the sandbox given room for as much as was taken.

import { ProxyFault } from "../net/fault.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { BodyLength, BodySink, BodySource } from "../net/message.ts";
import { Pieces } from "../net/pieces.ts";

type Options = {
  readonly length: BodyLength;
  /** END_STREAM came with the head. */
  readonly ended: boolean;
  /** So many octets more may be sent to us. */
  readonly taken: (octets: number) => void;
};

export class Http2Body implements BodySource {
  readonly length: BodyLength;
  readonly #taken: (octets: number) => void;
  readonly #held = new Pieces();
  #remaining: number | undefined;
  #sink: BodySink | undefined;
  #full = false;
  /** Given to a sink that is full: its room is given back with the next. */
  #unpaid = 0;
  #stopped = false;
  #failed: ProxyFault | "gone" | undefined;
  #trailers: HeaderPairs = [];
  #movedAt: number;
  /** The whole of it has arrived. */
  complete: boolean;

  constructor({ length, ended, taken }: Options) {
    this.length = length;
    this.#taken = taken;
    this.complete = ended;
    this.#remaining = length.kind === "known" ? length.octets : length.kind === "none" ? 0 : undefined;
    this.#movedAt = Date.now();
  }

  /** Throws where there is more than was announced. */
  push(octets: Buffer): void {
    this.#movedAt = Date.now();
    if (this.#stopped || this.#failed !== undefined) {
      this.#taken(octets.length);
      return;
    }
    if (this.#remaining !== undefined) {
      this.#remaining -= octets.length;
      if (this.#remaining < 0) throw new ProxyFault("length-ambiguous");
    }
    if (octets.length === 0) return;
    if (this.#sink === undefined || this.#full) this.#held.push(octets);
    else this.#give(octets);
  }

  /** Throws where there is less than was announced. */
  end(trailers: HeaderPairs): void {
    const wanted = !this.#stopped && this.#failed === undefined;
    if (wanted && this.#remaining !== undefined && this.#remaining > 0)
      throw new ProxyFault("length-ambiguous");
    this.complete = true;
    this.#trailers = trailers;
    if (!this.#full && this.#failed === undefined) this.#sink?.end(trailers);
  }

  pipe(sink: BodySink): void {
    if (this.#failed !== undefined) {
      sink.abort(this.#failed === "gone" ? "request-malformed" : this.#failed.reason);
      return;
    }
    this.#sink = sink;
    this.#full = false;
    this.#proceed();
  }

  stop(): void {
    this.#stopped = true;
    this.#sink = undefined;
    this.#release();
  }

  fail(fault: ProxyFault | undefined): void {
    if (this.#failed !== undefined) return;
    const open = !this.complete || this.#full;
    this.#failed = fault ?? "gone";
    this.#release();
    const sink = this.#sink;
    this.#sink = undefined;
    if (open) sink?.abort(fault?.reason ?? "request-malformed");
  }

  /** Milliseconds since the sandbox should have sent something; 0 while it is the origin's turn. */
  stalledFor(): number {
    const { complete, length } = this;
    if (complete || length.kind === "none" || this.#full || this.#held.octets > 0) return 0;
    return Date.now() - this.#movedAt;
  }

  readonly #proceed = (): void => {
    if (this.#sink === undefined) return;
    this.#full = false;
    if (this.#held.octets > 0) this.#give(this.#held.take());
    this.#movedAt = Date.now();
    if (!this.#full && this.complete) this.#sink.end(this.#trailers);
  };

  #give(octets: Buffer): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    if (sink.write(octets)) {
      this.#taken(octets.length);
      return;
    }
    this.#full = true;
    this.#unpaid += octets.length;
    sink.onDrain = () => {
      this.#pay();
      this.#proceed();
    };
  }

  #pay(): void {
    const octets = this.#unpaid;
    this.#unpaid = 0;
    if (octets > 0) this.#taken(octets);
  }

  /** What is held is not kept, and its room given back. */
  #release(): void {
    if (this.#held.octets > 0) this.#unpaid += this.#held.take().length;
    this.#pay();
  }
}
