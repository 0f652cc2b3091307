// A socket's timer, moved as seldom as may be: to move it for each message costs more than to look, once it fires, what is due.

import type { ByteStream } from "./downstream.ts";

export class SocketTimer {
  readonly #socket: ByteStream;
  #set = 0;

  constructor(socket: ByteStream, ms: number) {
    this.#socket = socket;
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
}
