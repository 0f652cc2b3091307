// Gathers the octets of an HTTP/1 head up to its empty line, within a bound, and fails early what can no longer become one.

import { ProxyFault } from "./fault.ts";
import { isToken } from "./http1-head.ts";
import type { Reason } from "./reasons.ts";

/** Where the first CRLF CRLF begins, or -1. Looks at every fourth octet only (Horspool): `indexOf` costs three times as much here. */
export function headEnd(octets: Buffer, from = 0): number {
  for (let at = from + 3; at < octets.length;) {
    const octet = octets[at];
    if (octet === LF) {
      if (octets[at - 1] === CR && octets[at - 2] === LF && octets[at - 3] === CR) return at - 3;
      at += 2;
    } else {
      at += octet === CR ? 1 : 4;
    }
  }
  return -1;
}

/** Gathers the octets of a head, however they are cut. */
export class HeadBuffer {
  readonly #limit: number;
  readonly #tooLarge: Reason;
  readonly #malformed: Reason;
  readonly #ignoresEmptyLine: boolean;
  #held: Buffer = EMPTY;
  #length = 0;

  constructor(limit: number, side: "request" | "response") {
    this.#limit = limit;
    this.#tooLarge = side === "request" ? "head-too-large" : "upstream-head-too-large";
    this.#malformed = side === "request" ? "request-malformed" : "upstream-malformed";
    this.#ignoresEmptyLine = side === "request";
  }

  /** Octets of an unfinished head are held. */
  get started(): boolean {
    return this.#length > 0;
  }

  /** The head's text without its last CRLF CRLF and the octets after it; `undefined` until it is whole. */
  push(chunk: Buffer): { readonly text: string; readonly rest: Buffer } | undefined {
    if (this.#length === 0) {
      const end = headEnd(chunk);
      if (end !== -1) return this.#finish(chunk, chunk.length, end);
    }
    const before = this.#length;
    this.#append(chunk);
    const held = this.#held.subarray(0, this.#length);
    const end = headEnd(held, Math.max(0, before - 3));
    if (end !== -1) {
      const whole = Buffer.from(held);
      this.#length = 0;
      this.#held = EMPTY;
      return this.#finish(whole, whole.length, end);
    }
    this.#rejectEarly(held, before);
    return undefined;
  }

  #finish(bytes: Buffer, length: number, end: number): { text: string; rest: Buffer } {
    if (end > this.#limit) throw new ProxyFault(this.#tooLarge);
    // One empty line before a request line is ignored (RFC 9112 §2.2).
    const start = this.#ignoresEmptyLine && end > 1 && bytes[0] === CR && bytes[1] === LF ? 2 : 0;
    const rest = end + 4 === length ? EMPTY : bytes.subarray(end + 4, length);
    return { text: bytes.toString("latin1", start, end), rest };
  }

  #append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(1024, length * 2));
      this.#held.copy(grown, 0, 0, this.#length);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#length);
    this.#length = length;
  }

  /** Fails what can no longer become a head, so that it need not be waited for. */
  #rejectEarly(held: Buffer, from: number): void {
    if (held.length > this.#limit) throw new ProxyFault(this.#tooLarge);
    const [first] = held;
    if (first !== undefined && !isToken(first) && first !== CR) throw new ProxyFault(this.#malformed);
    for (let at = held.indexOf(LF, from); at !== -1; at = held.indexOf(LF, at + 1)) {
      if (held[at - 1] !== CR) throw new ProxyFault(this.#malformed);
    }
  }
}

const CR = 0x0d;
const LF = 0x0a;
const EMPTY = Buffer.alloc(0);
