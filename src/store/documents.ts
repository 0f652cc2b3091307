// What both stores agree on beside their SQL: which writes and draws can be kept at all, and how rows become documents. A value
// that one of them would alter or refuse is refused by both, as the caller's error and not the store's.

import type { Body, Change, Document, Draw, Kind, Write } from "./types.ts";

export type Row = Readonly<Record<string, unknown>>;

export function refuseUnstorable(writes: readonly Write[]): void {
  const seen = new Set<string>();
  for (const { kind, id, version, body } of writes) {
    refuseText(id, "a document's id", ID);
    const key = `${kind} ${id}`;
    if (seen.has(key)) throw new TypeError(`${key} is written twice at once`);
    seen.add(key);
    refuseNumber(version, "a document's version", 0);
    if (body !== undefined && textOf(body).length > BODY)
      throw new RangeError(`${key} has more than ${BODY} characters`);
  }
}

export function refuseUndrawable({ counter, window, until, amount, limit }: Draw): void {
  refuseText(counter, "a counter's name", COUNTER);
  refuseNumber(window, "a window", 0);
  refuseNumber(until, "the end of a window", 0);
  refuseNumber(amount, "an amount", -Number.MAX_SAFE_INTEGER);
  refuseNumber(limit, "a limit", 0);
}

export const textOf = (body: Body): string => JSON.stringify(body);

export function documentOf({ kind, id, version, body }: Row): Document {
  return {
    kind: kind as Kind,
    id: String(id),
    version: Number(version),
    body: JSON.parse(String(body)) as Body,
  };
}

export function changeOf(row: Row): Change {
  if (row["body"] !== null) return documentOf(row);
  return { kind: row["kind"] as Kind, id: String(row["id"]), removed: true };
}

/** NUL cannot stand in PostgreSQL's texts, and half of a surrogate pair would become another name. */
function refuseText(text: string, what: string, most: number): void {
  if (text.length === 0 || text.length > most || text.includes("\0") || !text.isWellFormed())
    throw new TypeError(`${what} has 1 to ${most} well-formed characters`);
}

function refuseNumber(value: number, what: string, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw new TypeError(`${what} is a whole number`);
}

const ID = 128;
const COUNTER = 512;
const BODY = 2 ** 20;
