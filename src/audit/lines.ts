// Reads a segment's lines in flat memory, each with its place in the file. It judges nothing.

import { createReadStream } from "node:fs";

export type Line = {
  /** Octets as latin1 characters, so that a changed octet is still seen; empty where the line is over-long. */
  readonly text: string;
  readonly start: number;
  /** Just after the line feed. */
  readonly end: number;
  /** The line feed is there. */
  readonly complete: boolean;
};

/** No record is longer: every value has a limit. */
const LINE_OCTETS_MAX = 128 * 1024;

const LINE_FEED = 10;

/** Lines in groups, as the file's chunks hold them. */
export async function* readLines(path: string, from = 0): AsyncGenerator<Line[]> {
  let carry: Buffer = Buffer.alloc(0);
  let start = from;
  let overlong = false;
  for await (const chunk of createReadStream(path, { start: from, highWaterMark: 256 * 1024 })) {
    const data = carry.length === 0 ? (chunk as Buffer) : Buffer.concat([carry, chunk as Buffer]);
    const lines: Line[] = [];
    let at = 0;
    for (let feed = data.indexOf(LINE_FEED, at); feed >= 0; feed = data.indexOf(LINE_FEED, at)) {
      const skip = overlong || feed - at > LINE_OCTETS_MAX;
      const end = start + (feed + 1 - at);
      lines.push({ text: skip ? "" : data.toString("latin1", at, feed), start, end, complete: true });
      overlong = false;
      start = end;
      at = feed + 1;
    }
    carry = data.subarray(at);
    if (carry.length > LINE_OCTETS_MAX) {
      overlong = true;
      start += carry.length;
      carry = Buffer.alloc(0);
    }
    if (lines.length > 0) yield lines;
  }
  if (carry.length > 0 || overlong) {
    yield [
      { text: overlong ? "" : carry.toString("latin1"), start, end: start + carry.length, complete: false },
    ];
  }
}

const SEALED =
  /^\{"v":1,"seq":(\d{1,16}),"at":"[^"]{24}","writer":"([^"]{1,128})","type":"([a-z]+)".*,"hash":"([A-Za-z0-9_-]{43})"\}$/;
const SUFFIX_LENGTH = ',"hash":""}'.length + 43;

export type Sealed = {
  readonly seq: number;
  readonly writer: string;
  readonly type: string;
  readonly hash: string;
  /** The line up to its hash: what is hashed. */
  readonly open: string;
};

/** The chain's part of a line; `undefined` where it is no record. */
export function readSealed(text: string): Sealed | undefined {
  const match = SEALED.exec(text);
  if (match === null) return undefined;
  const [, seq, writer, type, hash] = match as unknown as [string, string, string, string, string];
  return { seq: Number(seq), writer, type, hash, open: text.slice(0, -SUFFIX_LENGTH) };
}

const ID = /"type":"(?:decision|completion)","id":"([^"]{1,128})"/;

/** The audit id of a decision or completion. */
export function readId(text: string): string | undefined {
  return ID.exec(text)?.[1];
}
