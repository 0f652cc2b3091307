// What holds for every HTTP/2 field section (RFC 9113 §8.2), requests' and answers', heads and trailers. Nothing here repairs.

import { ProxyFault } from "./fault.ts";
import type { HeaderPairs } from "./headers.ts";
import { checkValue, isBlank, isToken } from "./http1-head.ts";
import type { Reason } from "./reasons.ts";

/** Names are lower-case tokens, values hold no controls and no blanks at their ends; nothing is about the connection. */
export function checkFields(fields: HeaderPairs, from: number, malformed: Reason): void {
  for (let at = from; at < fields.length; at += 2) {
    const name = fields[at]!;
    const value = fields[at + 1]!;
    if (!isLowerToken(name) || CONNECTION_FIELDS.has(name)) throw new ProxyFault(malformed);
    checkValue(value, malformed);
    if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)))
      throw new ProxyFault(malformed);
    if (name === "te" && value.toLowerCase() !== "trailers") throw new ProxyFault(malformed);
  }
}

/** A head as an HTTP/1 one would be counted: what goes over the wire is compressed, what is allowed is not. */
export function octetsOf(pairs: HeaderPairs): number {
  let octets = 0;
  for (let at = 0; at < pairs.length; at += 2) octets += pairs[at]!.length + pairs[at + 1]!.length + 4;
  return octets;
}

function isLowerToken(name: string): boolean {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (!isToken(code) || (code >= 0x41 && code <= 0x5a)) return false;
  }
  return name.length > 0;
}

/** RFC 9113 §8.2.2. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
