// The outgoing half of one stream: octets in order, as the windows allow, then its end. What does not fit waits here, and whoever
// writes is told to pause.

import type { HeaderPairs } from "../net/headers.ts";
import { FRAME_OCTETS, MAX_WINDOW } from "../net/http2-frames.ts";
import type { Http2Output, Waiting } from "./http2-output.ts";

export class Http2Sender implements Waiting {
  readonly #output: Http2Output;
  readonly #id: number;
  #window: number;
  #pending: Buffer[] = [];
  #trailers: HeaderPairs | undefined;
  #sent = false;
  #stopped = false;
  #wanted = false;
  /** Everything given is written, and there is room for more. */
  onRoom: (() => void) | undefined;
  /** END_STREAM is written. */
  onSent: (() => void) | undefined;
  /** Since when the sandbox lets nothing more be sent, or 0. */
  blockedSince = 0;

  constructor(output: Http2Output, id: number) {
    this.#output = output;
    this.#id = id;
    this.#window = output.initialWindow;
  }

  get sent(): boolean {
    return this.#sent;
  }

  /** Of what may be written at once. */
  get window(): number {
    return this.#pending.length > 0 ? 0 : this.#window;
  }

  /** False: `onRoom` is called, once, when there is room again. */
  write(chunk: Buffer): boolean {
    if (this.#stopped || this.#trailers !== undefined || chunk.length === 0) return true;
    this.#pending.push(chunk);
    while (this.#pending.length > 0 && this.#output.room > 0 && this.#slice());
    if (this.#pending.length === 0 && !this.#output.blocked) return true;
    this.#wanted = true;
    this.#await();
    return false;
  }

  /** `last`: octets that go with the end. */
  end(trailers: HeaderPairs, last?: Buffer): void {
    if (this.#stopped || this.#trailers !== undefined) return;
    this.#trailers = trailers;
    if (last !== undefined && last.length > 0) this.#pending.push(last);
    while (this.#pending.length > 0 && this.#output.room > 0 && this.#slice());
    if (this.#pending.length > 0) this.#await();
    else if (!this.#sent) this.#finish(undefined);
  }

  /** A head that says all there is. */
  endedWithHead(): void {
    this.#trailers = NO_FIELDS;
    this.#sent = true;
    this.onSent?.();
  }

  /** Nothing more goes out. */
  stop(): void {
    this.#stopped = true;
    this.#pending = [];
    this.blockedSince = 0;
    this.#output.forget(this);
  }

  /** False where the window grew past what can be. */
  grow(octets: number): boolean {
    this.#window += octets;
    if (this.#window > MAX_WINDOW) return false;
    if (this.#pending.length > 0) this.#output.flush();
    return true;
  }

  step(): boolean {
    const moved = this.#pending.length > 0 && this.#slice();
    if (this.#pending.length > 0) return moved;
    this.#output.forget(this);
    this.blockedSince = 0;
    if (this.#trailers !== undefined && !this.#sent) this.#finish(undefined);
    if (this.#wanted) {
      this.#wanted = false;
      this.onRoom?.();
    }
    return moved;
  }

  #await(): void {
    if (this.blockedSince === 0) this.blockedSince = Date.now();
    this.#output.wait(this);
  }

  #slice(): boolean {
    const most = Math.min(this.#window, this.#output.room, FRAME_OCTETS);
    const [chunk] = this.#pending;
    if (most <= 0 || chunk === undefined) return false;
    const part = chunk.length <= most ? chunk : chunk.subarray(0, most);
    if (part === chunk) this.#pending.shift();
    else this.#pending[0] = chunk.subarray(most);
    this.#window -= part.length;
    if (this.blockedSince !== 0) this.blockedSince = Date.now();
    const last = this.#pending.length === 0 && this.#trailers?.length === 0;
    if (last) this.#finish(part);
    else this.#output.data(this.#id, part, false);
    return true;
  }

  #finish(last: Buffer | undefined): void {
    this.#sent = true;
    const trailers = this.#trailers ?? NO_FIELDS;
    if (trailers.length > 0) this.#output.fields(this.#id, trailers, true);
    else this.#output.data(this.#id, last ?? NOTHING, true);
    this.onSent?.();
  }
}

const NO_FIELDS: HeaderPairs = [];
const NOTHING = Buffer.alloc(0);
