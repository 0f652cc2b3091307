// Bytes both ways between two connections, unread: counted, with backpressure, half-closed as they come, ended together.

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import type { ByteStream } from "./downstream.ts";
import type { Gate } from "./gate.ts";
import { ignoreError } from "./ignore-error.ts";

/** Bytes that pass behind a 101 or a CONNECT's 200. */
export type Passage = {
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly address?: Address;
  cut(): void;
};

export type RelayOptions = {
  readonly down: ByteStream;
  readonly up: Socket;
  readonly address?: Address | undefined;
  readonly idleMs: number;
  /** Absent: nothing is counted but for the record. */
  readonly meter?: { readonly up: Gate; readonly down: Gate } | undefined;
  /** Both connections are closed. */
  readonly onEnd: () => void;
};

export class Relay {
  readonly address?: Address;
  bytesUp = 0;
  bytesDown = 0;
  readonly #ends: readonly (ByteStream | Socket)[];
  readonly #idleMs: number;
  #timer: NodeJS.Timeout;
  /** When a byte last moved, by performance.now(). */
  #movedAt = performance.now();

  constructor({ down, up, address, idleMs, meter, onEnd }: RelayOptions) {
    if (address !== undefined) this.address = address;
    this.#ends = [down, up];
    this.#idleMs = idleMs;
    // One timer, set anew when it is due: a socket's own is moved by every read and write of it.
    this.#timer = setTimeout(this.#look, idleMs);
    for (const end of this.#ends) end.setTimeout(0);
    // The origin's side may end first, too.
    up.allowHalfOpen = true;
    let open = 2;
    const closed = (end: ByteStream | Socket, other: ByteStream | Socket): void => {
      // What an orderly end left to be sent is sent; anything else is seen to be cut.
      if (end.readableEnded) other.destroySoon();
      else other.destroy();
      if (--open > 0) return;
      clearTimeout(this.#timer);
      onEnd();
    };
    this.#pass(down, up, meter?.up, (octets) => (this.bytesUp += octets));
    this.#pass(up, down, meter?.down, (octets) => (this.bytesDown += octets));
    for (const [end, other] of [[down, up] as const, [up, down] as const]) {
      end.on("error", ignoreError);
      if (end.closed) closed(end, other);
      else end.once("close", () => closed(end, other));
    }
  }

  #pass(
    from: ByteStream | Socket,
    to: ByteStream | Socket,
    gate: Gate | undefined,
    count: (octets: number) => void,
  ): void {
    let waiting = false;
    let full = false;
    const write = (chunk: Buffer): void => {
      this.#movedAt = performance.now();
      count(chunk.length);
      full = !to.write(chunk);
      if (full) from.pause();
    };
    const through = async (gated: Gate, chunk: Buffer): Promise<void> => {
      let rest = chunk;
      waiting = true;
      from.pause();
      do {
        if ((await gated.more()) !== undefined || to.destroyed) return;
        const passing = gated.take(rest.length);
        if (passing > 0) write(rest.subarray(0, passing));
        rest = rest.subarray(passing);
      } while (rest.length > 0);
      waiting = false;
      if (!full) from.resume();
    };
    from.on("data", (chunk: Buffer) => {
      const passing = gate?.take(chunk.length) ?? chunk.length;
      if (passing === chunk.length || gate === undefined) return write(chunk);
      if (passing > 0) write(chunk.subarray(0, passing));
      void through(gate, chunk.subarray(passing));
    });
    to.on("drain", () => {
      this.#movedAt = performance.now();
      full = false;
      if (!waiting) from.resume();
    });
    // It may have ended before anybody was there to hear it.
    if (from.readableEnded) to.end();
    else from.on("end", () => to.end());
    from.resume();
  }

  readonly #look = (): void => {
    const left = this.#idleMs - (performance.now() - this.#movedAt);
    if (left <= 0) this.cut();
    else this.#timer = setTimeout(this.#look, Math.ceil(left));
  };

  cut(): void {
    for (const end of this.#ends) end.destroy();
  }
}
