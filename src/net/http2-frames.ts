// HTTP/2 frames (RFC 9113 §4 and §6): cut out of a stream of octets, and written. What they mean is for others to say.

import { Pieces } from "./pieces.ts";

export const TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** RFC 9113 §7. */
export const CODE = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  calm: 11,
} as const;
export type ErrorCode = (typeof CODE)[keyof typeof CODE];

export const SETTING = {
  tableSize: 1,
  push: 2,
  streams: 3,
  window: 4,
  frameSize: 5,
  headerList: 6,
  extendedConnect: 8,
} as const;

export type Frame = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
};

/** Neither side ever needs larger ones. */
export const FRAME_OCTETS = 16_384;
export const HEADER_OCTETS = 9;
export const MAX_WINDOW = 0x7fffffff;
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** The octets' next frame, as often as there is one. */
export class FrameReader {
  readonly #held = new Pieces();
  #ready: Buffer = NOTHING;
  #needed = HEADER_OCTETS;

  /** Octets of a frame that is not whole yet. */
  get partial(): boolean {
    return this.#held.octets + this.#ready.length > 0;
  }

  push(chunk: Buffer): void {
    this.#held.push(chunk);
  }

  /** `undefined`: not there yet. `too-large`: no frame of this peer can be read any more. */
  next(): Frame | "too-large" | undefined {
    if (this.#ready.length < this.#needed) {
      // Nothing is put together before it is enough: octets may come one by one.
      if (this.#ready.length + this.#held.octets < this.#needed) return undefined;
      const more = this.#held.take();
      this.#ready = this.#ready.length === 0 ? more : Buffer.concat([this.#ready, more]);
    }
    const ready = this.#ready;
    const length = ready.readUIntBE(0, 3);
    if (length > FRAME_OCTETS) return "too-large";
    this.#needed = HEADER_OCTETS + length;
    if (ready.length < this.#needed) return this.#held.octets > 0 ? this.next() : undefined;
    this.#ready = ready.subarray(this.#needed);
    this.#needed = HEADER_OCTETS;
    return {
      type: ready[3]!,
      flags: ready[4]!,
      stream: ready.readUInt32BE(5) & MAX_WINDOW,
      payload: ready.subarray(HEADER_OCTETS, HEADER_OCTETS + length),
    };
  }

  /** So many octets, once, ahead of any frame; `undefined`: not there yet. */
  lead(octets: number): Buffer | undefined {
    if (this.#held.octets < octets) return undefined;
    const all = this.#held.take();
    this.#ready = all.subarray(octets);
    return all.subarray(0, octets);
  }
}

/** A frame's own octets; its payload follows. */
export function frameHead(frame: { type: number; flags?: number; stream?: number }, length: number): Buffer {
  const head = Buffer.allocUnsafe(HEADER_OCTETS);
  head.writeUIntBE(length, 0, 3);
  head[3] = frame.type;
  head[4] = frame.flags ?? 0;
  head.writeUInt32BE(frame.stream ?? 0, 5);
  return head;
}

/** The payload as one with its head: for what is small. */
export function smallFrame(
  frame: { type: number; flags?: number; stream?: number },
  payload: Buffer = NOTHING,
): Buffer {
  return Buffer.concat([frameHead(frame, payload.length), payload]);
}

export function numbers(...words: readonly number[]): Buffer {
  const out = Buffer.allocUnsafe(words.length * 4);
  for (const [at, word] of words.entries()) out.writeUInt32BE(word, at * 4);
  return out;
}

/** Identifiers and values of SETTINGS, in pairs. */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const out = Buffer.allocUnsafe(pairs.length * 6);
  for (const [at, [id, value]] of pairs.entries()) {
    out.writeUInt16BE(id, at * 6);
    out.writeUInt32BE(value, at * 6 + 2);
  }
  return out;
}

/** Without padding and priority; `undefined` where they do not fit. */
export function unpadded({ flags, payload, type }: Frame): Buffer | undefined {
  let start = 0;
  let end = payload.length;
  if ((flags & FLAG.padded) !== 0) {
    start = 1;
    end -= payload[0] ?? 0;
  }
  if (type === TYPE.headers && (flags & FLAG.priority) !== 0) start += 5;
  return start > payload.length || start > end ? undefined : payload.subarray(start, end);
}

const NOTHING = Buffer.alloc(0);
