// Pieces of HTTP/1 text that both engines write.

import type { HeaderPairs } from "./headers.ts";

/** Field lines, without the blank line. Strings are added: V8 asks of each part of a template whether it is one. */
export function fieldText(fields: HeaderPairs): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) text += fields[i]! + ": " + fields[i + 1]! + "\r\n";
  return text;
}

/** The last chunk and the trailer section (RFC 9112 §7.1). */
export function lastChunk(trailers: HeaderPairs): string {
  return `0\r\n${fieldText(trailers)}\r\n`;
}
