// The PROXY protocol's header, versions 1 and 2, with which a balancer says whose connection it passes on. Read in one way
// only; what it says of a prefix it says of every longer one, except for "incomplete".

import { type Address, parseAddress, unmapped } from "./address.ts";

export type ProxyHeaderRead =
  | { readonly state: "incomplete" | "malformed" }
  | {
      readonly state: "complete";
      /** `undefined`: the balancer speaks for itself (LOCAL, UNKNOWN), as in its health checks. */
      readonly source: { readonly address: Address; readonly port: number } | undefined;
      /** How many of those given the header took. */
      readonly octets: number;
    };

export function readProxyHeader(bytes: Buffer): ProxyHeaderRead {
  if (bytes.length === 0) return INCOMPLETE;
  if (startsAs(bytes, SIGNATURE)) return readBinary(bytes);
  return startsAs(bytes, WORD) ? readText(bytes) : MALFORMED;
}

/** The bytes agree with `expected` as far as both go. */
function startsAs(bytes: Buffer, expected: Buffer): boolean {
  const length = Math.min(bytes.length, expected.length);
  return bytes.compare(expected, 0, length, 0, length) === 0;
}

function readText(bytes: Buffer): ProxyHeaderRead {
  const end = bytes.subarray(0, TEXT_MAX).indexOf("\r\n");
  if (end < 0) return bytes.length < TEXT_MAX ? INCOMPLETE : MALFORMED;
  const octets = end + 2;
  const line = bytes.toString("latin1", 0, end);
  // What a proxy that does not know may add is not read.
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN "))
    return { state: "complete", source: undefined, octets };
  const [, family, from = "", to = "", fromPort = "", toPort = ""] =
    /^PROXY TCP([46]) ([\da-fA-F:.]+) ([\da-fA-F:.]+) (\d+) (\d+)$/.exec(line) ?? [];
  const source = addressOf(family, from);
  const port = portOf(fromPort);
  if (source === undefined || addressOf(family, to) === undefined) return MALFORMED;
  if (port === undefined || portOf(toPort) === undefined) return MALFORMED;
  return { state: "complete", source: { address: sourceOf(source), port }, octets };
}

function addressOf(family: string | undefined, text: string): Address | undefined {
  return text.includes(":") === (family === "6") ? parseAddress(text) : undefined;
}

function portOf(text: string): number | undefined {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function readBinary(bytes: Buffer): ProxyHeaderRead {
  if (bytes.length > 12 && bytes[12] !== LOCAL && bytes[12] !== PROXY) return MALFORMED;
  if (bytes.length < BINARY_HEADER) return INCOMPLETE;
  const length = bytes.readUInt16BE(14);
  const octets = BINARY_HEADER + length;
  if (octets > BINARY_MAX) return MALFORMED;
  const local = bytes[12] === LOCAL;
  const family = bytes[13]!;
  const wide = family === STREAM_V6;
  // Of a connection that is not TCP nothing could be passed on.
  if (!local && family !== UNSPECIFIED && family !== STREAM_V4 && !wide) return MALFORMED;
  const known = !local && family !== UNSPECIFIED;
  // Two addresses, two ports; what follows them (TLVs) is skipped.
  if (known && length < (wide ? 36 : 12)) return MALFORMED;
  if (bytes.length < octets) return INCOMPLETE;
  if (!known) return { state: "complete", source: undefined, octets };
  const size = wide ? 16 : 4;
  const address = addressFrom(bytes.subarray(BINARY_HEADER, BINARY_HEADER + size));
  return {
    state: "complete",
    source: { address: sourceOf(address), port: bytes.readUInt16BE(BINARY_HEADER + size * 2) },
    octets,
  };
}

function addressFrom(octets: Buffer): Address {
  const text =
    octets.length === 4
      ? octets.join(".")
      : Array.from({ length: 8 }, (_, at) => octets.readUInt16BE(at * 2).toString(16)).join(":");
  return parseAddress(text)!;
}

/** One source must not count as two. */
function sourceOf(address: Address): Address {
  return parseAddress(unmapped(address)) ?? address;
}

const WORD = Buffer.from("PROXY ", "latin1");
const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** With its CRLF (version 1, §2.1). */
const TEXT_MAX = 107;
const BINARY_HEADER = 16;
/** Room for addresses and the TLVs that balancers send, certificates aside. */
const BINARY_MAX = 2_048;
const LOCAL = 0x20;
const PROXY = 0x21;
const UNSPECIFIED = 0x00;
const STREAM_V4 = 0x11;
const STREAM_V6 = 0x21;
const MALFORMED = { state: "malformed" } as const;
const INCOMPLETE = { state: "incomplete" } as const;
