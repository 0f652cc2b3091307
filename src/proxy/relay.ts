// Bytes both ways between two connections, unread: counted, with backpressure, half-closed as they come, ended together.

import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import type { ByteStream } from "./downstream.ts";

export type RelayOptions = {
  readonly down: ByteStream;
  readonly up: Socket;
  readonly address?: Address | undefined;
  readonly idleMs: number;
  /** Both connections are closed. */
  readonly onEnd: () => void;
};

export class Relay {
  readonly address?: Address;
  bytesUp = 0;
  bytesDown = 0;
  readonly #ends: readonly (ByteStream | Socket)[];

  constructor({ down, up, address, idleMs, onEnd }: RelayOptions) {
    if (address !== undefined) this.address = address;
    this.#ends = [down, up];
    // The origin's side may end first, too.
    up.allowHalfOpen = true;
    let open = 2;
    const closed = (end: ByteStream | Socket, other: ByteStream | Socket): void => {
      // What an orderly end left to be sent is sent; anything else is seen to be cut.
      if (end.readableEnded) other.destroySoon();
      else other.destroy();
      if (--open === 0) onEnd();
    };
    this.#pass(down, up, (octets) => (this.bytesUp += octets));
    this.#pass(up, down, (octets) => (this.bytesDown += octets));
    for (const [end, other] of [[down, up] as const, [up, down] as const]) {
      // 'close' follows every error.
      end.on("error", () => {});
      // Where one side fell silent for so long, so did the other: each byte moves both.
      end.on("timeout", () => this.cut());
      end.setTimeout(idleMs);
      if (end.closed) closed(end, other);
      else end.once("close", () => closed(end, other));
    }
  }

  #pass(from: ByteStream | Socket, to: ByteStream | Socket, count: (octets: number) => void): void {
    from.on("data", (chunk: Buffer) => {
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    // It may have ended before anybody was there to hear it.
    if (from.readableEnded) to.end();
    else from.on("end", () => to.end());
    from.resume();
  }

  cut(): void {
    for (const end of this.#ends) end.destroy();
  }
}
