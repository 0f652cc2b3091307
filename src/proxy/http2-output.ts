// What goes out on an HTTP/2 connection: frames, and bodies as far as the connection's window and the socket have room, each
// stream in its turn.

import { encodeFields } from "../net/hpack.ts";
import type { HeaderPairs } from "../net/headers.ts";
import { FLAG, frameHead, FRAME_OCTETS, MAX_WINDOW, numbers, smallFrame, TYPE } from "../net/http2-frames.ts";
import type { ByteStream } from "./downstream.ts";

/** A stream that has more to send than there was room for. */
export type Waiting = {
  /** Sends one frame's worth; false where its own window is empty. */
  step(): boolean;
};

export class Http2Output {
  readonly #socket: ByteStream;
  readonly #waiting = new Set<Waiting>();
  #window = INITIAL_WINDOW;
  #corked = false;
  #first = true;
  /** What a new stream may send before it is told otherwise. */
  initialWindow = INITIAL_WINDOW;
  /** Frames of data sent since somebody last looked. */
  dataFrames = 0;

  constructor(socket: ByteStream) {
    this.#socket = socket;
  }

  /** Octets of bodies that may go out now. */
  get room(): number {
    return this.blocked ? 0 : this.#window;
  }

  get blocked(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Octets written, and not yet taken by the sandbox's side. */
  get backlog(): number {
    return this.#socket.writableLength;
  }

  control(type: number, flags: number, stream: number, payload?: Buffer): void {
    this.#write(smallFrame({ type, flags, stream }, payload));
  }

  reset(stream: number, code: number): void {
    this.control(TYPE.reset, 0, stream, numbers(code));
  }

  /** Answers with the octets written. */
  fields(stream: number, fields: HeaderPairs, end: boolean): number {
    const block = encodeFields(fields, this.#first);
    this.#first = false;
    let at = 0;
    do {
      const part = block.subarray(at, at + FRAME_OCTETS);
      const type = at === 0 ? TYPE.headers : TYPE.continuation;
      at += part.length;
      const flags =
        (at < block.length ? 0 : FLAG.endHeaders) | (end && type === TYPE.headers ? FLAG.endStream : 0);
      this.control(type, flags, stream, part);
    } while (at < block.length);
    return block.length;
  }

  /** `payload`: within what `room` and the stream's window allow. */
  data(stream: number, payload: Buffer, end: boolean): void {
    this.#window -= payload.length;
    this.dataFrames++;
    this.#write(frameHead({ type: TYPE.data, flags: end ? FLAG.endStream : 0, stream }, payload.length));
    if (payload.length > 0) this.#write(payload);
  }

  /** The connection's window grew; false where it grew past what can be. */
  grow(octets: number): boolean {
    this.#window += octets;
    if (this.#window > MAX_WINDOW) return false;
    this.flush();
    return true;
  }

  wait(stream: Waiting): void {
    this.#waiting.add(stream);
  }

  forget(stream: Waiting): void {
    this.#waiting.delete(stream);
  }

  /** As much as there is room for, one frame of each stream at a time. */
  flush(): void {
    for (let moved = true; moved && this.room > 0;) {
      moved = false;
      for (const stream of this.#waiting) {
        if (this.room <= 0) return;
        if (stream.step()) moved = true;
      }
    }
  }

  /** What is written in one turn leaves together. */
  #write(octets: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#socket.write(octets);
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };
}

/** Before SETTINGS and WINDOW_UPDATE say otherwise (RFC 9113 §6.9.2). */
const INITIAL_WINDOW = 65_535;
