// The TLS ClientHello, read before anything answers it (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301).
// What it says of a prefix it must say of every longer one, except for "incomplete".

import { type Host, isAddressLiteral, parseHost } from "./host.ts";

export type ClientHello = {
  readonly sni: Host | undefined;
  readonly alpn: readonly string[];
  /** supported_versions, or the legacy version where that is absent; e.g. 0x0304. */
  readonly versions: readonly number[];
};

export type ClientHelloRead =
  | { readonly state: "incomplete" }
  | { readonly state: "not-tls" }
  /** Also: an SNI that is not a canonical host name, is an address literal, or stands twice; over `limit` octets. */
  | { readonly state: "malformed" }
  | { readonly state: "complete"; readonly hello: ClientHello };

/** `bytes`: all that arrived so far, from the first record on. Handles a hello split over many records. */
export function readClientHello(bytes: Uint8Array, limit = LIMIT): ClientHelloRead {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return { state: "not-tls" };
  if (bytes.length > 1 && bytes[1] !== MAJOR) return { state: "not-tls" };
  const message = assemble(bytes, limit);
  if (message === "incomplete" || message === "malformed") return { state: message };
  const hello = parse(message);
  return hello ? { state: "complete", hello } : { state: "malformed" };
}

/** The random of a hello that was read whole: no two hellos of honest clients have the same. */
export function helloRandom(bytes: Uint8Array): string | undefined {
  const message = assemble(bytes, LIMIT);
  return typeof message === "string" ? undefined : String.fromCharCode(...message.subarray(2, 34));
}

/**
 * The handshake message out of its records (RFC 8446 §5.1), without its header. The limit counts the records' headers too,
 * so it bounds what a caller has to hold. Nothing is copied before the last record is there: a peer may send octet by octet.
 */
function assemble(bytes: Uint8Array, limit: number): Uint8Array | "incomplete" | "malformed" {
  let announced = 0; // the message's own length
  let known = 0; // octets of the message's header that are there
  let held = 0;
  for (let at = 0; ;) {
    if (at + RECORD_HEADER > limit) return "malformed";
    if (at < bytes.length && bytes[at] !== HANDSHAKE) return "malformed";
    if (at + 1 < bytes.length && bytes[at + 1] !== MAJOR) return "malformed";
    if (at + RECORD_HEADER > bytes.length) return "incomplete";
    const end = recordEnd(bytes, at);
    const length = end - at - RECORD_HEADER;
    if (length === 0 || length > FRAGMENT_MAX || end > limit) return "malformed";
    for (
      let i = at + RECORD_HEADER;
      i < Math.min(end, bytes.length) && known < MESSAGE_HEADER;
      i++, known++
    ) {
      if (known === 0 && bytes[i] !== CLIENT_HELLO) return "malformed";
      if (known > 0) announced = (announced << 8) | bytes[i]!;
    }
    held += length;
    if (known === MESSAGE_HEADER) {
      const size = MESSAGE_HEADER + announced;
      // Nothing may follow the hello in its last record.
      if (size > limit || held > size) return "malformed";
      if (held === size && end <= bytes.length) return join(bytes, size).subarray(MESSAGE_HEADER);
    }
    if (end > bytes.length) return "incomplete";
    at = end;
  }
}

function recordEnd(bytes: Uint8Array, at: number): number {
  return at + RECORD_HEADER + ((bytes[at + 3]! << 8) | bytes[at + 4]!);
}

/** The fragments of the first records, so many octets in all. */
function join(bytes: Uint8Array, size: number): Uint8Array {
  const whole = new Uint8Array(size);
  for (let at = 0, filled = 0; filled < size;) {
    const end = recordEnd(bytes, at);
    whole.set(bytes.subarray(at + RECORD_HEADER, end), filled);
    filled += end - at - RECORD_HEADER;
    at = end;
  }
  return whole;
}

function parse(message: Uint8Array): ClientHello | undefined {
  const reader = new Reader(message, 0, message.length);
  const legacy = reader.number(2);
  reader.skip(32); // random
  const session = reader.vector(1);
  const suites = reader.vector(2);
  const compressions = reader.vector(1);
  const extensions = reader.done ? new Map<number, Reader>() : readExtensions(reader.vector(2));
  if (!reader.done || !extensions || legacy >> 8 !== MAJOR || session.length > 32) return undefined;
  if (suites.length === 0 || suites.length % 2 !== 0 || compressions.length === 0) return undefined;

  const named = extensions.get(SERVER_NAME);
  const sni = named && readServerName(named);
  const offered = extensions.get(ALPN);
  const alpn = offered ? readAlpn(offered) : [];
  const supported = extensions.get(SUPPORTED_VERSIONS);
  const versions = supported ? readVersions(supported) : [legacy];
  if ((named && sni === undefined) || !alpn || !versions) return undefined;
  return { sni, alpn, versions };
}

function readExtensions(reader: Reader): Map<number, Reader> | undefined {
  const found = new Map<number, Reader>();
  while (!reader.done) {
    const type = reader.number(2);
    const body = reader.vector(2);
    if (reader.failed || found.has(type)) return undefined;
    found.set(type, body);
  }
  return found;
}

/** One host_name and nothing else: readers differ in which of several they take. */
function readServerName(outer: Reader): Host | undefined {
  const list = outer.vector(2);
  const type = list.number(1);
  const name = list.vector(2);
  if (!outer.done || !list.done || type !== HOST_NAME || name.length > NAME_MAX) return undefined;
  const text = name.text();
  // RFC 6066 §3: no trailing dot, no address literals.
  const host = text.endsWith(".") ? undefined : parseHost(text);
  return host === undefined || isAddressLiteral(host) ? undefined : host;
}

function readAlpn(outer: Reader): string[] | undefined {
  const list = outer.vector(2);
  const protocols: string[] = [];
  while (!list.done) {
    const protocol = list.vector(1);
    if (protocol.length === 0) return undefined;
    protocols.push(protocol.text());
  }
  return outer.done && protocols.length > 0 ? protocols : undefined;
}

function readVersions(outer: Reader): number[] | undefined {
  const list = outer.vector(1);
  const versions: number[] = [];
  while (!list.done && !list.failed) versions.push(list.number(2));
  return outer.done && list.done && versions.length > 0 ? versions : undefined;
}

/**
 * Reads forward; once it would pass the end it has failed, gives zeros and nothing, and is never done. What it gives is a reader of the same
 * octets: a view of its own for each of some fifty pieces would be most of what a hello costs.
 */
class Reader {
  failed = false;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Everything was read, and no more. */
  get done(): boolean {
    return !this.failed && this.#at === this.#end;
  }

  /** Octets that are left. */
  get length(): number {
    return this.#end - this.#at;
  }

  /** Where the octets skipped began; -1: there are not so many. */
  skip(octets: number): number {
    if (this.failed || octets > this.length) {
      this.failed = true;
      return -1;
    }
    this.#at += octets;
    return this.#at - octets;
  }

  number(octets: number): number {
    const start = this.skip(octets);
    if (start < 0) return 0;
    let value = 0;
    for (let at = start; at < start + octets; at++) value = (value << 8) | this.#bytes[at]!;
    return value;
  }

  /** An opaque vector with a length prefix of so many octets. */
  vector(prefix: number): Reader {
    const length = this.number(prefix);
    const start = this.skip(length);
    return start < 0 ? new Reader(this.#bytes, 0, 0) : new Reader(this.#bytes, start, start + length);
  }

  /** What is left, an octet a character. */
  text(): string {
    let text = "";
    for (let at = this.#at; at < this.#end; at++) text += String.fromCharCode(this.#bytes[at]!);
    return text;
  }
}

const LIMIT = 65_536;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAJOR = 3;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
const FRAGMENT_MAX = 16_384;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const NAME_MAX = 255;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
