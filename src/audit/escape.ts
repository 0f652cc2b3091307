// Turns any string into one JSON string of printable ASCII, so that a line stays one line in every viewer and a
// sandbox can add neither a line nor a field. It must never let a raw control, bidirectional or non-ASCII octet through.

import { ownText } from "../net/own-text.ts";

const PLAIN = /^[ !#-[\]-~]*$/;
const UNSAFE = /["\\]|[^ -~]/g;

/** The JSON string literal, quotes included. A lone surrogate becomes U+FFFD: strict JSON readers refuse it. */
export function quote(text: string): string {
  if (PLAIN.test(text)) return '"' + text + '"';
  return `"${text.toWellFormed().replace(UNSAFE, escapeUnit)}"`;
}

/** As `quote`, for one of few texts that are said again and again; to remember one that never returns costs more than to look at it. */
export function quoteAgain(text: string): string {
  const known = KNOWN.get(text);
  if (known !== undefined) return known;
  if (text.length > KNOWN_LENGTH || !PLAIN.test(text)) return quote(text);
  if (KNOWN.size >= KNOWN_TEXTS) KNOWN.clear();
  const quoted = ownText(`"${text}"`);
  KNOWN.set(ownText(text), quoted);
  return quoted;
}

function escapeUnit(unit: string): string {
  if (unit === '"') return '\\"';
  if (unit === "\\") return "\\\\";
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const KNOWN = new Map<string, string>();
const KNOWN_TEXTS = 1024;
const KNOWN_LENGTH = 128;
