// Field blocks as they arrive, in one frame or several; bounded before they are unfolded and after.

import { ProxyFault } from "../net/fault.ts";
import { type FieldSection, HpackDecoder } from "../net/hpack.ts";
import type { Limits } from "../net/limits.ts";

export type FieldBlock = {
  readonly stream: number;
  readonly endStream: boolean;
  readonly section: FieldSection;
};

type Open = { readonly stream: number; readonly endStream: boolean; pieces: Buffer[]; octets: number };

export class FieldBlocks {
  readonly #decoder = new HpackDecoder();
  readonly #limits: Limits;
  #open: Open | undefined;
  /** When the one that is open began, or 0. */
  since = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** The stream whose block is not whole yet: nothing else may come in between. */
  get stream(): number | undefined {
    return this.#open?.stream;
  }

  begin(stream: number, endStream: boolean): void {
    this.#open = { stream, endStream, pieces: [], octets: 0 };
    this.since = Date.now();
  }

  /** Throws a fault past what a block may have. */
  add(piece: Buffer): void {
    const open = this.#open;
    if (open === undefined) return;
    open.octets += piece.length;
    // A flood of CONTINUATION, with or without anything in it (CVE-2024-27316).
    if (open.pieces.push(piece) > MAX_FRAMES) throw new ProxyFault("too-many-frames");
    if (open.octets > this.#limits.headOctets * 2) throw new ProxyFault("head-too-large");
  }

  /** `undefined`: not HPACK. */
  end(): FieldBlock | undefined {
    const open = this.#open;
    this.#open = undefined;
    this.since = 0;
    if (open === undefined) return undefined;
    const [first, ...more] = open.pieces;
    const block = first === undefined || more.length > 0 ? Buffer.concat(open.pieces) : first;
    const { headOctets, headFields } = this.#limits;
    const section = this.#decoder.decode(block, { octets: headOctets, fields: headFields + PSEUDO });
    return section && { stream: open.stream, endStream: open.endStream, section };
  }
}

const MAX_FRAMES = 16;
/** Fields that stand in the request line elsewhere. */
const PSEUDO = 5;
