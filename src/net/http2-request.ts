// HTTP/2 field sections, read in exactly one way or not at all (RFC 9113 §8): a request becomes what an HTTP/1 head would
// have said in absolute form, so that everything behind it judges the two alike.

import { parseAuthority } from "./authority.ts";
import { ProxyFault } from "./fault.ts";
import type { HeaderPairs } from "./headers.ts";
import { checkFields } from "./http2-fields.ts";
import { CHUNKED, isTokenText, NONE, type HeadLimits, type ParsedRequest } from "./http1-head.ts";
import type { BodyLength } from "./message.ts";

export type Http2Request = ParsedRequest & {
  /** A WebSocket that asks for its own stream (RFC 8441). */
  readonly websocket: boolean;
};

type Pseudo = {
  readonly method: string;
  readonly scheme: string | undefined;
  readonly authority: string | undefined;
  readonly path: string | undefined;
  readonly protocol: string | undefined;
};

export type RequestOptions = {
  readonly limits: HeadLimits;
  /** No body and no trailers follow. */
  readonly ended: boolean;
  /** Whether SETTINGS_ENABLE_CONNECT_PROTOCOL was sent. */
  readonly extendedConnect: boolean;
};

export function parseHttp2Request(
  fields: HeaderPairs,
  { limits, ended, extendedConnect }: RequestOptions,
): Http2Request {
  const { pseudo, from } = readPseudo(fields);
  const { method, protocol } = pseudo;
  if (protocol !== undefined && (!extendedConnect || method !== "CONNECT")) malformed();
  checkFields(fields, from, "request-malformed");
  const headers: string[] = [];
  const told = gather(fields, from, headers);
  const websocket = protocol === "websocket";
  const connect = method === "CONNECT";
  if (connect && told.length !== undefined) throw new ProxyFault("length-ambiguous");
  const host = told.host ?? pseudo.authority;
  if (host === undefined) throw new ProxyFault("host-ambiguous");
  return {
    head: {
      method: websocket ? "GET" : method,
      target: targetOf(pseudo, host, limits),
      version: "2",
      headers,
    },
    length: connect ? NONE : lengthOf(told.length, ended),
    host,
    keepAlive: true,
    expectContinue: told.expect !== undefined && !ended && !connect,
    upgrade: websocket ? "websocket" : undefined,
    websocket,
  };
}

/** Fields behind a body. */
export function checkTrailers(fields: HeaderPairs): void {
  checkFields(fields, 0, "request-malformed");
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "content-length" || fields[i] === "host") malformed();
  }
}

/** Each at most once, ahead of all other fields, and no other ones. */
function readPseudo(fields: HeaderPairs): { pseudo: Pseudo; from: number } {
  const found = new Map<string, string>();
  let from = 0;
  for (; from < fields.length; from += 2) {
    const name = fields[from]!;
    if (name.charCodeAt(0) !== COLON) break;
    if (!PSEUDO.has(name) || found.has(name)) malformed();
    found.set(name, fields[from + 1]!);
  }
  const method = found.get(":method");
  if (method === undefined || method.length > MAX_METHOD || !isTokenText(method)) malformed();
  return {
    pseudo: {
      method,
      scheme: found.get(":scheme"),
      authority: found.get(":authority"),
      path: found.get(":path"),
      protocol: found.get(":protocol"),
    },
    from,
  };
}

/** What the request line of HTTP/1 would have said. */
function targetOf(
  { method, scheme, authority, path, protocol }: Pseudo,
  host: string,
  limits: HeadLimits,
): string {
  if (method === "CONNECT" && protocol !== "websocket") {
    // Without :protocol, with :authority alone (RFC 9113 §8.5). Nothing of it is ever followed.
    if (protocol === undefined && (scheme !== undefined || path !== undefined)) malformed();
    if (authority === undefined) malformed();
    return authority;
  }
  if (scheme === undefined || path === undefined) malformed();
  if (scheme !== "https" && scheme !== "http") throw new ProxyFault("target-malformed");
  if (parseAuthority(authority ?? host, scheme === "https" ? 443 : 80) === undefined)
    throw new ProxyFault("authority-malformed");
  if (path.length > limits.targetOctets) throw new ProxyFault("head-too-large");
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    if (code <= SPACE || code >= DELETE) throw new ProxyFault("target-malformed");
  }
  const asterisk = path === "*" && method === "OPTIONS";
  if (path.charCodeAt(0) !== SLASH && !asterisk) throw new ProxyFault("target-malformed");
  // A Host beside it stands in the request too, and must agree: see `readInquiry`.
  return `${scheme}://${authority ?? host}${asterisk ? "" : path}`;
}

function lengthOf(told: number | undefined, ended: boolean): BodyLength {
  if (ended) {
    if (told !== undefined && told !== 0) throw new ProxyFault("length-ambiguous");
    return NONE;
  }
  if (told === undefined) return CHUNKED;
  return told === 0 ? NONE : { kind: "known", octets: told };
}

type Told = { host: string | undefined; length: number | undefined; expect: string | undefined };

/** Copies the fields, the crumbs of Cookie as one (RFC 9113 §8.2.3), and picks out what the message is framed by. */
function gather(fields: HeaderPairs, from: number, headers: string[]): Told {
  const told: Told = { host: undefined, length: undefined, expect: undefined };
  let crumbs = -1;
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i]!;
    const value = fields[i + 1]!;
    if (name === "cookie") {
      if (crumbs >= 0) {
        headers[crumbs] = `${headers[crumbs]}; ${value}`;
        continue;
      }
      crumbs = headers.length + 1;
    } else if (name === "host") {
      if (told.host !== undefined) throw new ProxyFault("host-ambiguous");
      told.host = value;
    } else if (name === "content-length") {
      if (told.length !== undefined || !/^\d{1,15}$/.test(value)) throw new ProxyFault("length-ambiguous");
      told.length = Number(value);
    } else if (name === "expect") {
      if (told.expect !== undefined || value.toLowerCase() !== "100-continue")
        throw new ProxyFault("expectation-unsupported");
      told.expect = value;
    }
    headers.push(name, value);
  }
  return told;
}

function malformed(): never {
  throw new ProxyFault("request-malformed");
}

const PSEUDO: ReadonlySet<string> = new Set([":method", ":scheme", ":authority", ":path", ":protocol"]);
const MAX_METHOD = 40;
const SPACE = 0x20;
const SLASH = 0x2f;
const COLON = 0x3a;
const DELETE = 0x7f;
