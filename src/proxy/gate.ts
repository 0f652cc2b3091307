// Lets octets through as long as every budget that they fall under has some left, waits where it has to be drawn first, and says
// when there is no more. What passes has been spent before.

import type { HeaderPairs } from "../net/headers.ts";
import type { BodySink, BodySource } from "../net/message.ts";
import type { Purse, Short } from "./purse.ts";

export class Gate {
  readonly #onShort: (short: Short) => void;
  purses: readonly Purse[] = [];

  constructor(onShort: (short: Short) => void) {
    this.#onShort = onShort;
  }

  /** How many of so many octets pass now; they are spent. */
  take(octets: number): number {
    let passing = octets;
    for (const purse of this.purses) passing = Math.min(passing, purse.left);
    if (passing > 0) for (const purse of this.purses) purse.spend(passing);
    return passing;
  }

  /** All of them, or none and why; nobody else is told. */
  async all(octets: number): Promise<Short | undefined> {
    for (;;) {
      const short = await this.#need(octets);
      if (short !== undefined) return short;
      // Somebody else may have taken it between two purses.
      if (this.purses.every(({ left }) => left >= octets)) break;
    }
    this.take(octets);
    return undefined;
  }

  /** Resolves once there is more, or with why there is not, which whoever is concerned has been told. */
  async more(): Promise<Short | undefined> {
    const short = await this.#need(1);
    if (short !== undefined) this.close(short);
    return short;
  }

  /** Nothing more passes. */
  close(short: Short): void {
    this.#onShort(short);
  }

  /** Why nothing could pass. */
  shut(): Promise<Short | undefined> {
    return this.#need(1);
  }

  async #need(octets: number): Promise<Short | undefined> {
    for (const purse of this.purses) {
      const short = await purse.need(octets);
      if (short !== undefined) return short;
    }
    return undefined;
  }

  /** Pipes through it; where it closes, `onShort` ends both sides. */
  body(body: BodySource): BodySource {
    return {
      length: body.length,
      pipe: (sink) => body.pipe(new GatedSink(this, sink)),
      stop: () => body.stop(),
    };
  }

  sink(sink: BodySink): BodySink {
    return new GatedSink(this, sink);
  }
}

class GatedSink implements BodySink {
  readonly #gate: Gate;
  readonly #sink: BodySink;
  #held: Buffer[] = [];
  #trailers: HeaderPairs | undefined;
  #waiting = false;
  #over = false;
  onDrain: (() => void) | undefined;

  constructor(gate: Gate, sink: BodySink) {
    this.#gate = gate;
    this.#sink = sink;
  }

  write(chunk: Buffer): boolean {
    if (this.#over || chunk.length === 0) return true;
    if (this.#waiting) {
      this.#held.push(chunk);
      return false;
    }
    return this.#pass(chunk);
  }

  #pass(chunk: Buffer): boolean {
    const passing = this.#gate.take(chunk.length);
    const room =
      passing === 0 || this.#sink.write(passing === chunk.length ? chunk : chunk.subarray(0, passing));
    if (passing === chunk.length) {
      if (!room) this.#sink.onDrain = this.#drained;
      return room;
    }
    this.#held.unshift(chunk.subarray(passing));
    void this.#wait();
    return false;
  }

  async #wait(): Promise<void> {
    this.#waiting = true;
    const short = await this.#gate.more();
    this.#waiting = false;
    // The other side may have ended in order long before, and hear of no cut.
    if (short === undefined) this.#proceed();
    else this.abort(short.reason);
  }

  /** What was held, until it has to wait again; then whoever writes goes on. */
  #proceed(): void {
    let room = true;
    while (!this.#over && !this.#waiting && this.#held.length > 0) {
      const chunk = this.#held.shift();
      if (chunk !== undefined) room = this.#pass(chunk);
    }
    if (this.#waiting || this.#over) return;
    if (this.#trailers !== undefined) return this.end(this.#trailers);
    if (room) this.#drained();
  }

  readonly #drained = (): void => {
    const resume = this.onDrain;
    this.onDrain = undefined;
    resume?.();
  };

  end(trailers: HeaderPairs): void {
    if (this.#over) return;
    this.#trailers = trailers;
    if (this.#waiting) return;
    if (trailers.length === 0) return this.#finish(trailers);
    void this.#gate.all(octetsOf(trailers)).then((short) => {
      if (short === undefined) return this.#finish(trailers);
      this.#gate.close(short);
      this.abort(short.reason);
    });
  }

  #finish(trailers: HeaderPairs): void {
    if (this.#over) return;
    this.#over = true;
    this.#sink.end(trailers);
  }

  abort(reason: Parameters<BodySink["abort"]>[0]): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = [];
    this.#sink.abort(reason);
  }
}

/** As HTTP/1.1 writes them, whatever is spoken. */
export function octetsOf(fields: HeaderPairs): number {
  return fields.reduce((octets, text) => octets + text.length + 2, 0);
}
