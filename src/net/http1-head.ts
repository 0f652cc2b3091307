// HTTP/1.x heads, read in exactly one way or not at all (RFC 9112). Nothing here repairs: bare CR or LF, folding, spaces
// before colons, controls and doubtful lengths are faults.

import { ProxyFault } from "./fault.ts";
import { isName } from "./headers.ts";
import type { BodyLength, RequestHead, ResponseHead } from "./message.ts";
import type { Reason } from "./reasons.ts";

export type HeadLimits = {
  readonly headOctets: number;
  readonly headFields: number;
  readonly targetOctets: number;
};

/** What a head says of its own message, picked out while it is parsed. */
type Framing = {
  /** Lower-case tokens of Connection. */
  readonly connection: readonly string[];
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
};

export type ParsedRequest = {
  readonly head: RequestHead;
  readonly length: BodyLength;
  /** The one Host value; `undefined` where HTTP/1.0 has none. */
  readonly host: string | undefined;
  readonly keepAlive: boolean;
  readonly expectContinue: boolean;
  /** Value of Upgrade, where Connection names it. */
  readonly upgrade: string | undefined;
};

export type ParsedResponse = {
  readonly head: ResponseHead;
  /** What the fields declare, whether or not a body follows (HEAD, 304). */
  readonly declared: BodyLength;
  /** The body that follows. */
  readonly length: BodyLength;
  readonly keepAlive: boolean;
  /** Value of Upgrade, where Connection names it. */
  readonly upgrade: string | undefined;
};

export function parseRequest(text: string, limits: HeadLimits): ParsedRequest {
  const end = lineEnd(text, 0);
  const firstSpace = text.indexOf(" ");
  const lastSpace = text.lastIndexOf(" ", end - 1);
  if (firstSpace <= 0 || lastSpace <= firstSpace || lastSpace > end)
    throw new ProxyFault("request-malformed");
  const method = text.slice(0, firstSpace);
  const target = text.slice(firstSpace + 1, lastSpace);
  const version = text.slice(lastSpace + 1, end);
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") {
    throw new ProxyFault(/^HTTP\/\d\.\d$/.test(version) ? "version-unsupported" : "request-malformed");
  }
  if (!isTokenText(method) || method.length > MAX_METHOD) throw new ProxyFault("request-malformed");
  if (target.length > limits.targetOctets) throw new ProxyFault("head-too-large");
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f) throw new ProxyFault("target-malformed");
  }
  const fields = parseFields(text, end + 2, { max: limits.headFields, malformed: "request-malformed" });
  return requestOf({ method, target, version: version === "HTTP/1.1" ? "1.1" : "1.0", headers: fields });
}

function requestOf(head: RequestHead): ParsedRequest {
  const http11 = head.version === "1.1";
  const framing = framingOf(head.headers, "length-ambiguous");
  let host: string | undefined;
  let expect: string | undefined;
  let upgrade: string | undefined;
  const { headers } = head;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    if (isName(name, "host")) {
      if (host !== undefined) throw new ProxyFault("host-ambiguous");
      host = value;
    } else if (isName(name, "expect")) {
      if (expect !== undefined) throw new ProxyFault("expectation-unsupported");
      expect = value.toLowerCase();
    } else if (isName(name, "upgrade")) {
      upgrade = upgrade === undefined ? value : `${upgrade}, ${value}`;
    }
  }
  if (http11 && host === undefined) throw new ProxyFault("host-ambiguous");
  if (expect !== undefined && expect !== "100-continue") throw new ProxyFault("expectation-unsupported");
  if (framing.chunked && !http11) throw new ProxyFault("length-ambiguous");
  return {
    head,
    length: framing.chunked
      ? CHUNKED
      : framing.contentLength === undefined || framing.contentLength === 0
        ? NONE
        : { kind: "known", octets: framing.contentLength },
    host,
    keepAlive: keepAliveOf(http11, framing.connection),
    expectContinue: http11 && expect !== undefined,
    upgrade: framing.connection.includes("upgrade") ? upgrade : undefined,
  };
}

export function parseResponse(text: string, limits: HeadLimits, method: string): ParsedResponse {
  const end = lineEnd(text, 0);
  const version = text.slice(0, 8);
  if (
    (version !== "HTTP/1.1" && version !== "HTTP/1.0") ||
    text.charCodeAt(8) !== SP ||
    // RFC 9112 §4: the second space is there even before an empty reason; many origins leave it out.
    (end !== 12 && text.charCodeAt(12) !== SP)
  ) {
    throw new ProxyFault("upstream-malformed");
  }
  const status = decimal(text.slice(9, 12));
  if (status === undefined || status < 100 || status > 599) throw new ProxyFault("upstream-malformed");
  const reason = text.slice(13, end);
  checkValue(reason, "upstream-malformed");
  const headers = parseFields(text, end + 2, { max: limits.headFields, malformed: "upstream-malformed" });
  const http11 = version === "HTTP/1.1";
  const framing = framingOf(headers, "upstream-malformed");
  if (framing.chunked && !http11) throw new ProxyFault("upstream-malformed");
  const bodiless = method === "HEAD" || status === 204 || status === 304 || status < 200;
  const declared: BodyLength = framing.chunked
    ? CHUNKED
    : framing.contentLength === undefined
      ? bodiless
        ? NONE
        : CLOSE
      : { kind: "known", octets: framing.contentLength };
  let upgrade: string | undefined;
  if (status === 101) {
    for (let i = 0; i < headers.length; i += 2) {
      if (isName(headers[i]!, "upgrade")) upgrade = headers[i + 1]!;
    }
    if (!framing.connection.includes("upgrade")) upgrade = undefined;
  }
  return {
    head: { status, reason, headers },
    declared,
    length: bodiless ? NONE : declared,
    keepAlive: keepAliveOf(http11, framing.connection),
    upgrade,
  };
}

/** The lines after the start line, or a trailer section, as raw pairs. */
export function parseFields(
  text: string,
  from: number,
  bounds: { readonly max: number; readonly malformed: Reason },
): string[] {
  const fields: string[] = [];
  let at = from;
  while (at < text.length) {
    const end = lineEnd(text, at);
    let colon = at;
    while (colon < end && isToken(text.charCodeAt(colon))) colon++;
    if (colon === at || colon === end || text.charCodeAt(colon) !== COLON)
      throw new ProxyFault(bounds.malformed);
    let start = colon + 1;
    let stop = end;
    while (start < stop && isBlank(text.charCodeAt(start))) start++;
    while (stop > start && isBlank(text.charCodeAt(stop - 1))) stop--;
    const value = text.slice(start, stop);
    checkValue(value, bounds.malformed);
    fields.push(text.slice(at, colon), value);
    if (fields.length > bounds.max * 2) {
      throw new ProxyFault(
        bounds.malformed === "upstream-malformed" ? "upstream-head-too-large" : "head-too-large",
      );
    }
    at = end + 2;
  }
  return fields;
}

function framingOf(headers: readonly string[], ambiguous: Reason): Framing {
  let connection: string[] = NO_TOKENS;
  let contentLength: number | undefined;
  let chunked = false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (isName(name, "connection")) {
      const listed = headers[i + 1]!.toLowerCase().split(",");
      connection = [...connection, ...listed.map((token) => token.trim())];
    } else if (isName(name, "content-length")) {
      const octets = decimal(headers[i + 1]!);
      if (octets === undefined || contentLength !== undefined) throw new ProxyFault(ambiguous);
      contentLength = octets;
    } else if (isName(name, "transfer-encoding")) {
      if (chunked || headers[i + 1]!.toLowerCase() !== "chunked") throw new ProxyFault(ambiguous);
      chunked = true;
    }
  }
  if (chunked && contentLength !== undefined) throw new ProxyFault(ambiguous);
  return { connection, contentLength, chunked };
}

function keepAliveOf(http11: boolean, connection: readonly string[]): boolean {
  if (connection.includes("close")) return false;
  return http11 || connection.includes("keep-alive");
}

/** Start of the CRLF that ends the line, or the text's end. */
function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\r\n", from);
  return end === -1 ? text.length : end;
}

export function checkValue(value: string, malformed: Reason): void {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((code < SP && code !== TAB) || code === DEL) throw new ProxyFault(malformed);
  }
}

/** Digits only, at most 2^53; no sign, no list. */
export function decimal(text: string): number | undefined {
  if (text.length === 0 || text.length > 15) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

export function isTokenText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isToken(text.charCodeAt(i))) return false;
  return text.length > 0;
}

/** RFC 9110 §5.6.2 tchar. */
export function isToken(code: number): boolean {
  return TOKEN[code] === 1;
}

export function isBlank(code: number): boolean {
  return code === SP || code === TAB;
}

export const NONE: BodyLength = { kind: "none" };
export const CHUNKED: BodyLength = { kind: "chunked" };
export const CLOSE: BodyLength = { kind: "close" };

const SP = 0x20;
const TAB = 0x09;
const DEL = 0x7f;
const COLON = 0x3a;
const MAX_METHOD = 40;
const NO_TOKENS: string[] = [];
const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[char.charCodeAt(0)] = 1;
}
