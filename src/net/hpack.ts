// HPACK (RFC 7541): field sections read within bounds that count what they unfold to, and written without a dynamic table,
// so that nothing a sandbox gets depends on what was sent before.

import type { HeaderPairs } from "./headers.ts";
import { END_OF_STRING, HUFFMAN, STATIC } from "./hpack-table.ts";

export type FieldBounds = { readonly octets: number; readonly fields: number };

export type FieldSection = {
  readonly fields: readonly string[];
  /** Past a bound: the rest was read for the table's sake, and dropped. */
  readonly over: boolean;
};

/** One for each connection: each section changes what the next one means. */
export class HpackDecoder {
  #entries: (readonly [name: string, value: string])[] = [];
  #size = 0;
  #max = TABLE_OCTETS;
  #block: Buffer = NOTHING;
  #at = 0;

  /** `undefined`: not HPACK; no later section can be understood either. */
  decode(block: Buffer, { octets, fields: most }: FieldBounds): FieldSection | undefined {
    this.#block = block;
    this.#at = 0;
    const fields: string[] = [];
    let left = octets;
    try {
      for (let begun = false; this.#at < block.length;) {
        const octet = block[this.#at]!;
        if ((octet & 0xe0) === 0x20) {
          if (begun) return undefined;
          this.#resize(this.#integer(5));
          continue;
        }
        begun = true;
        const [name, value] = this.#field(octet);
        left -= name.length + value.length + FIELD_OVERHEAD;
        if (left >= 0 && fields.length < most * 2) fields.push(name, value);
        else left = -1;
      }
    } catch {
      return undefined;
    } finally {
      this.#block = NOTHING;
    }
    return { fields, over: left < 0 };
  }

  #field(octet: number): readonly [string, string] {
    if ((octet & 0x80) !== 0) return this.#entry(this.#integer(7));
    const indexed = (octet & 0x40) !== 0;
    const index = this.#integer(indexed ? 6 : 4);
    const name = index === 0 ? this.#text() : this.#entry(index)[0];
    const field = [name, this.#text()] as const;
    if (indexed) this.#add(field);
    return field;
  }

  #entry(index: number): readonly [string, string] {
    const entry = index <= STATIC.length ? STATIC[index - 1] : this.#entries.at(STATIC.length - index);
    if (entry === undefined || index - STATIC.length > this.#entries.length) throw new RangeError("index");
    return entry;
  }

  #add(field: readonly [string, string]): void {
    this.#entries.push(field);
    this.#size += sizeOf(field);
    this.#evict();
  }

  #resize(max: number): void {
    if (max > TABLE_OCTETS) throw new RangeError("table size");
    this.#max = max;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#max) {
      const oldest = this.#entries.shift();
      if (oldest === undefined) return;
      this.#size -= sizeOf(oldest);
    }
  }

  #octet(): number {
    const octet = this.#block[this.#at++];
    if (octet === undefined) throw new RangeError("cut short");
    return octet;
  }

  #integer(prefix: number): number {
    const full = (1 << prefix) - 1;
    let value = this.#octet() & full;
    if (value < full) return value;
    for (let shift = 0; shift <= MAX_SHIFT; shift += 7) {
      const octet = this.#octet();
      value += (octet & 0x7f) << shift;
      if ((octet & 0x80) === 0) return value;
    }
    throw new RangeError("integer");
  }

  #text(): string {
    const huffman = ((this.#block[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw new RangeError("cut short");
    const text = huffman ? unfold(this.#block, this.#at, end) : this.#block.toString("latin1", this.#at, end);
    this.#at = end;
    return text;
  }
}

function sizeOf([name, value]: readonly [string, string]): number {
  return name.length + value.length + 32;
}

function unfold(block: Buffer, from: number, to: number): string {
  // The shortest code has five bits.
  const most = Math.ceil(((to - from) * 8) / 5);
  const out = most <= SCRATCH.length ? SCRATCH : Buffer.allocUnsafe(most);
  let length = 0;
  let node = 0;
  let bits = 0;
  let ones = true;
  for (let at = from; at < to; at++) {
    const octet = block[at]!;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (octet >> bit) & 1;
      const next = HUFFMAN[node * 2 + one]!;
      bits++;
      if (one === 0) ones = false;
      if (next >= 0) {
        node = next;
        continue;
      }
      if (~next === END_OF_STRING) throw new RangeError("end of string");
      out[length++] = ~next;
      node = 0;
      bits = 0;
      ones = true;
    }
  }
  // What is left over pads the last octet, with ones (§5.2).
  if (bits > 7 || !ones) throw new RangeError("padding");
  return out.toString("latin1", 0, length);
}

/** Lower-case names; `resize`: the first section of a connection says that no table is kept. */
export function encodeFields(fields: HeaderPairs, resize = false): Buffer {
  let most = resize ? 1 : 0;
  for (const text of fields) most += text.length + 6;
  const out = Buffer.allocUnsafe(most);
  let at = 0;
  if (resize) out[at++] = 0x20;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    const value = fields[i + 1]!;
    if (name === ":status") {
      const known = STATUSES.get(value);
      if (known !== undefined) {
        out[at++] = 0x80 | known;
        continue;
      }
    }
    const index = NAMES.get(name);
    if (index === undefined) {
      out[at++] = 0;
      at = writeText(out, at, name);
    } else {
      at = writeInteger(out, at, index, 4);
    }
    at = writeText(out, at, value);
  }
  return out.subarray(0, at);
}

function writeText(out: Buffer, at: number, text: string): number {
  const from = writeInteger(out, at, text.length, 7);
  return from + out.write(text, from, "latin1");
}

function writeInteger(out: Buffer, from: number, value: number, prefix: number): number {
  const full = (1 << prefix) - 1;
  let at = from;
  if (value < full) {
    out[at++] = value;
    return at;
  }
  out[at++] = full;
  let rest = value - full;
  for (; rest >= 0x80; rest >>>= 7) out[at++] = (rest & 0x7f) | 0x80;
  out[at++] = rest;
  return at;
}

/** SETTINGS_HEADER_TABLE_SIZE, where nothing else was agreed on. */
const TABLE_OCTETS = 4096;
/** As `: ` and the line's end count in an HTTP/1 head. */
const FIELD_OVERHEAD = 4;
const MAX_SHIFT = 21;
const NOTHING = Buffer.alloc(0);
const SCRATCH = Buffer.alloc(8192);
const NAMES: ReadonlyMap<string, number> = new Map(
  STATIC.map(([name], at) => [name, at + 1] as const).toReversed(),
);
const STATUSES: ReadonlyMap<string, number> = new Map(
  STATIC.flatMap(([name, value], at) => (name === ":status" ? [[value, at + 1] as const] : [])),
);
