// A host in its one canonical spelling. Whatever cannot be brought to it is undefined, and so denied.

import { domainToASCII, domainToUnicode } from "node:url";

import { parseAddress } from "./address.ts";
import { ownText } from "./own-text.ts";

declare const brand: unique symbol;
/**
 * Canonical host: a lower-case A-label DNS name without trailing dot, or an address literal in canonical text form
 * (`192.0.2.1`, `2001:db8::1` without brackets).
 */
export type Host = string & { readonly [brand]: "Host" };

/**
 * Reads a host as it arrives on the wire: ASCII only, one optional trailing dot, IPv6 in brackets.
 * Odd spellings (`127.1`, `0x7f.0.0.1`, `2130706433`, zone ids, bad A-labels, labels over 63 or names over 253 octets,
 * a last label that is all digits) are undefined. Underscores inside labels are accepted (SRV-like names exist).
 */
export function parseHost(text: string): Host | undefined {
  if (text.charCodeAt(0) === OPEN_BRACKET) return parseBracketed(text);
  const dotted = text.charCodeAt(text.length - 1) === DOT;
  const end = dotted ? text.length - 1 : text.length;
  if (end < 1 || end > NAME_MAX) return undefined;
  let label = 0; // where the label begins
  let digitsOnly = true;
  let upper = false;
  for (let at = 0; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code >= LOWER_A && code <= LOWER_Z) digitsOnly = false;
    else if (code === DOT) {
      if (!isLabel(text, label, at)) return undefined;
      label = at + 1;
      digitsOnly = true;
    } else if (code >= UPPER_A && code <= UPPER_Z) {
      digitsOnly = false;
      upper = true;
    } else if (code === HYPHEN || code === UNDERSCORE) digitsOnly = false;
    else if (code < ZERO || code > NINE) return undefined;
  }
  if (!isLabel(text, label, end)) return undefined;
  // Resolvers and URL parsers read such a name as an IPv4 address, some in octal or hex.
  if (digitsOnly) return dotted ? undefined : (parseAddress(text) as Host | undefined);
  const name = (upper ? text.toLowerCase() : text).slice(0, end);
  if (name.startsWith("0x", label)) return undefined;
  if (name.includes("xn--") && !hasGoodALabels(name)) return undefined;
  // Caches keep it.
  return ownText(name) as Host;
}

/** As `parseHost`, for operators' files and the command line: U-labels are taken through IDNA (UTS 46) first. */
export function parseHostUnicode(text: string): Host | undefined {
  if (text.includes(":") && text.charCodeAt(0) !== OPEN_BRACKET)
    return parseAddress(text) as Host | undefined;
  if (!NON_ASCII.test(text)) return parseHost(text);
  // domainToASCII reads a URL's host: it would decode percent signs, drop tabs and stop at a slash.
  if (!NAME_CHARACTERS.test(text)) return undefined;
  const host = parseHost(domainToASCII(text));
  // Digits of another script are an odd spelling of an address.
  return host === undefined || isAddressLiteral(host) ? undefined : host;
}

export function isAddressLiteral(host: Host): boolean {
  if (host.includes(":")) return true;
  // Of canonical hosts only an IPv4 address has a last label of digits alone.
  for (let at = host.length - 1; ; at--) {
    const code = host.charCodeAt(at);
    if (code === DOT) return true;
    if (!(code >= ZERO && code <= NINE)) return false;
  }
}

function parseBracketed(text: string): Host | undefined {
  if (!text.endsWith("]") || !text.includes(":")) return undefined;
  return parseAddress(text.slice(1, -1)) as Host | undefined;
}

/** Length and edges; the octets in between are checked by the caller (RFC 1123 §2.1). */
function isLabel(text: string, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > LABEL_MAX) return false;
  return text.charCodeAt(start) !== HYPHEN && text.charCodeAt(end - 1) !== HYPHEN;
}

/** An A-label must be the encoding of the U-label that it decodes to, else two spellings name one host. */
function hasGoodALabels(name: string): boolean {
  const unicode = domainToUnicode(name);
  return unicode !== "" && !/(?:^|\.)xn--/.test(unicode) && domainToASCII(unicode) === name;
}

const NAME_MAX = 253;
const LABEL_MAX = 63;
const DOT = 0x2e;
const HYPHEN = 0x2d;
const UNDERSCORE = 0x5f;
const OPEN_BRACKET = 0x5b;
const ZERO = 0x30;
const NINE = 0x39;
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
const LOWER_A = 0x61;
const LOWER_Z = 0x7a;
const NON_ASCII = /\P{ASCII}/u;
const NAME_CHARACTERS = /^[\w.\-\P{ASCII}]*$/u;
