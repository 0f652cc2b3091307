// A socket's timer, moved as seldom as may be: to move it for each message costs more than to look, once it fires, what is due.

import { performance } from "node:perf_hooks";
import type { ByteStream } from "./downstream.ts";

export class SocketTimer {
  readonly #socket: ByteStream;
  #set = 0;
  #idleUntil = 0;

  /** Idle from now on, for so many milliseconds at most. */
  constructor(socket: ByteStream, ms: number) {
    this.#socket = socket;
    this.idle(ms);
    this.wakeAfter(ms);
  }

  /** 'timeout' comes after so many milliseconds without an octet either way, counted from the last one. */
  wakeAfter(ms: number): void {
    if (this.#set === ms) return;
    this.#set = ms;
    this.#socket.setTimeout(ms);
  }

  /** It has to be set again. */
  fired(): void {
    this.#set = 0;
  }

  idle(ms: number): void {
    this.#idleUntil = performance.now() + ms;
  }

  /** Whole milliseconds; none, or less, once it was idle for too long. */
  get idleLeft(): number {
    return Math.ceil(this.#idleUntil - performance.now());
  }
}
