// The chunked coding (RFC 9112 §7.1), decoded strictly: CRLF only, plain hexadecimal sizes, bounded extensions and trailers.
// Extensions are dropped; trailers are handed on as pairs.

import { ProxyFault } from "./fault.ts";
import type { HeaderPairs } from "./headers.ts";
import { parseFields } from "./http1-head.ts";
import { Pieces } from "./pieces.ts";
import type { Reason } from "./reasons.ts";

type State = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailer" | "done";

export class ChunkedDecoder {
  readonly #malformed: Reason;
  readonly #maxFields: number;
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #overhead = 0;
  #trailer = "";
  trailers: HeaderPairs = [];

  constructor(malformed: Reason, maxFields: number) {
    this.#malformed = malformed;
    this.#maxFields = maxFields;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Emits the data in `chunk` and answers with the offset of the first octet after the body (its length, if it goes on).
   * Small chunks are emitted together: each piece costs its holder far more than an octet.
   */
  push(chunk: Buffer, emit: (data: Buffer) => void): number {
    const small = new Pieces();
    try {
      return this.#read(chunk, (data) => {
        if (data.length < SMALL) return small.push(data);
        if (small.octets > 0) emit(small.take());
        emit(data);
      });
    } finally {
      if (small.octets > 0) emit(small.take());
    }
  }

  #read(chunk: Buffer, emit: (data: Buffer) => void): number {
    let at = 0;
    while (at < chunk.length && this.#state !== "done") {
      if (this.#state === "data") {
        const take = Math.min(this.#size, chunk.length - at);
        emit(at === 0 && take === chunk.length ? chunk : chunk.subarray(at, at + take));
        this.#size -= take;
        at += take;
        if (this.#size === 0) this.#state = "data-cr";
      } else {
        this.#octet(chunk[at++]!);
      }
    }
    return at;
  }

  #octet(octet: number): void {
    switch (this.#state) {
      case "size":
        return this.#sizeOctet(octet);
      case "extension":
        if (octet === CR) this.#state = "size-lf";
        else if (octet < 0x20 && octet !== TAB) this.#fail();
        // Extensions cost their sender nothing to repeat; bound them over the whole body.
        if (++this.#overhead > MAX_EXTENSIONS) this.#fail();
        return undefined;
      case "size-lf":
        if (octet !== LF) this.#fail();
        this.#digits = 0;
        this.#state = this.#size === 0 ? "trailer" : "data";
        return undefined;
      case "data-cr":
        if (octet !== CR) this.#fail();
        this.#state = "data-lf";
        return undefined;
      case "data-lf":
        if (octet !== LF) this.#fail();
        this.#state = "size";
        return undefined;
      case "trailer":
        return this.#trailerOctet(octet);
      case "data":
      case "done":
        return undefined;
    }
  }

  #sizeOctet(octet: number): void {
    const digit = hexDigit(octet);
    if (digit !== -1) {
      if (++this.#digits > MAX_DIGITS) this.#fail();
      this.#size = this.#size * 16 + digit;
      return;
    }
    if (this.#digits === 0) this.#fail();
    if (octet === CR) this.#state = "size-lf";
    else if (octet === SEMICOLON) this.#state = "extension";
    else this.#fail();
  }

  #trailerOctet(octet: number): void {
    this.#trailer += String.fromCharCode(octet);
    const { length } = this.#trailer;
    if (length > MAX_TRAILER) this.#fail();
    if (octet !== LF) {
      // A CR is only ever followed by LF.
      if (length > 1 && this.#trailer.charCodeAt(length - 2) === CR) this.#fail();
      return;
    }
    if (length < 2 || this.#trailer.charCodeAt(length - 2) !== CR) this.#fail();
    if (length === 2) {
      this.#state = "done";
    } else if (this.#trailer.endsWith("\r\n\r\n")) {
      this.trailers = parseFields(this.#trailer.slice(0, -4), 0, {
        max: this.#maxFields,
        malformed: this.#malformed,
      });
      this.#state = "done";
    }
  }

  #fail(): never {
    throw new ProxyFault(this.#malformed);
  }
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  if (octet >= 0x41 && octet <= 0x46) return octet - 0x37;
  if (octet >= 0x61 && octet <= 0x66) return octet - 0x57;
  return -1;
}

const CR = 0x0d;
const LF = 0x0a;
const TAB = 0x09;
const SEMICOLON = 0x3b;
const SMALL = 1024;
const MAX_DIGITS = 12;
const MAX_EXTENSIONS = 16 * 1024;
const MAX_TRAILER = 16 * 1024;
