// DNS messages (RFC 1035, RFC 6891), as much as a responder that asks nobody needs: one plain question in, addresses or a
// code out. What can't be read in exactly one way is malformed; compression is never followed.

import { type Address, parseNetwork } from "./address.ts";
import { type Host, isAddressLiteral, parseHost } from "./host.ts";

export type DnsQuestion = {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Its section as it was sent, case and all. */
  readonly octets: Uint8Array;
  /** RFC 4343's text: printable ASCII, everything else as `\DDD`; without the last dot. `.` for the root. */
  readonly name: string;
  /** The host that it names; an address written as a name is none. */
  readonly host: Host | undefined;
  readonly type: number;
  readonly class: number;
  /** Octets that the asker takes over UDP, where it speaks EDNS. */
  readonly ednsSize: number | undefined;
};

export type DnsRead =
  | { readonly state: "question"; readonly question: DnsQuestion }
  /** Header only was read. */
  | { readonly state: "malformed"; readonly id: number; readonly opcode: number }
  /** Too short, or itself an answer: to answer it could go on for ever. */
  | { readonly state: "ignored" };

export type DnsAnswer = {
  readonly rcode: Rcode;
  /** Those of the question's family are sent. */
  readonly addresses: readonly Address[];
  readonly ttlSeconds: number;
  /** Why not, for whoever speaks EDNS (RFC 8914). */
  readonly error: { readonly code: "blocked" | "unsupported"; readonly text: string } | undefined;
};

export const RCODES = { ok: 0, malformed: 1, failed: 2, noName: 3, unsupported: 4, refused: 5 } as const;
export type Rcode = (typeof RCODES)[keyof typeof RCODES];

export const TYPES = { A: 1, PTR: 12, AAAA: 28, SVCB: 64, HTTPS: 65 } as const;
export const CLASS_IN = 1;
/** No question needs more; a longer one carries something else. */
export const QUESTION_MAX = 1_232;
export const HEADER = 12;

export function readQuestion(message: Uint8Array): DnsRead {
  if (message.length < HEADER) return { state: "ignored" };
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const flags = view.getUint16(2);
  if ((flags & IS_ANSWER) !== 0) return { state: "ignored" };
  const opcode = (flags >> 11) & 0xf;
  const malformed = { state: "malformed", id: view.getUint16(0), opcode } as const;
  if (opcode !== 0 || message.length > QUESTION_MAX) return malformed;
  // Truncated, or a code where none belongs.
  if ((flags & (TRUNCATED | 0xf)) !== 0) return malformed;
  const [questions, answers, authorities, additional] = [4, 6, 8, 10].map((at) => view.getUint16(at));
  if (questions !== 1 || answers !== 0 || authorities !== 0) return malformed;
  const name = readName(message);
  if (name === undefined || name.end + 4 > message.length) return malformed;
  const end = name.end + 4;
  const edns = readEdns(view, end, additional ?? 0);
  if (edns === "malformed") return malformed;
  return {
    state: "question",
    question: {
      id: malformed.id,
      recursionDesired: (flags & RECURSION_DESIRED) !== 0,
      octets: message.subarray(HEADER, end),
      name: name.text,
      host: hostOf(name.text),
      type: view.getUint16(name.end),
      class: view.getUint16(name.end + 2),
      ednsSize: edns,
    },
  };
}

/** At most `limit` octets (512 at least): where the addresses don't fit, none are sent and it is marked as cut. */
export function writeAnswer(question: DnsQuestion, answer: DnsAnswer, limit: number): Uint8Array {
  const { octets, type, ednsSize } = question;
  const octetsOf = (address: Address): Uint8Array => parseNetwork(address)!.bytes;
  const length = type === TYPES.A ? 4 : type === TYPES.AAAA ? 16 : 0;
  const edns = ednsSize === undefined ? NOTHING : writeEdns(answer.error);
  let records = answer.addresses.map(octetsOf).filter((address) => address.length === length);
  const fits = HEADER + octets.length + records.length * (RECORD_FIXED + length) + edns.length <= limit;
  if (!fits) records = [];
  const flags =
    IS_ANSWER |
    (fits ? 0 : TRUNCATED) |
    (question.recursionDesired ? RECURSION_DESIRED : 0) |
    RECURSION_AVAILABLE |
    answer.rcode;
  const header = [question.id, flags, 1, records.length, 0, edns.length === 0 ? 0 : 1];
  return join([
    ...header.map(u16),
    octets,
    ...records.flatMap((address) => [
      // The question's name, which begins behind the header.
      ...[0xc000 | HEADER, type, CLASS_IN].map(u16),
      u16(answer.ttlSeconds >>> 16),
      u16(answer.ttlSeconds & 0xffff),
      u16(address.length),
      address,
    ]),
    edns,
  ]);
}

/** To what could not be read: its header, with a code. */
export function writeFailure({ id, opcode }: { readonly id: number; readonly opcode: number }): Uint8Array {
  const rcode = opcode === 0 ? RCODES.malformed : RCODES.unsupported;
  return join([id, IS_ANSWER | (opcode << 11) | rcode, 0, 0, 0, 0].map(u16));
}

/** A type's name where it is a usual one, else as RFC 3597 writes it. */
export function typeName(type: number): string {
  return TYPE_NAMES[type] ?? `TYPE${type}`;
}

function readName(message: Uint8Array): { text: string; end: number } | undefined {
  const labels: string[] = [];
  for (let at = HEADER; ;) {
    const length = message[at];
    // Also a pointer, of which a question needs none, and the label types that never came to be.
    if (length === undefined || length > LABEL_MAX || at + 1 + length - HEADER > NAME_MAX) return undefined;
    at++;
    if (length === 0) return { text: labels.length === 0 ? "." : labels.join("."), end: at };
    if (at + length > message.length) return undefined;
    labels.push(Array.from(message.subarray(at, at + length), printable).join(""));
    at += length;
  }
}

function printable(octet: number): string {
  if (octet === DOT || octet === BACKSLASH) return `\\${String.fromCharCode(octet)}`;
  if (octet > 0x20 && octet < 0x7f) return String.fromCharCode(octet);
  return `\\${String(octet).padStart(3, "0")}`;
}

function hostOf(text: string): Host | undefined {
  const host = parseHost(text);
  return host === undefined || isAddressLiteral(host) ? undefined : host;
}

/** Nothing, or one OPT record of version 0 that ends the message; what its options say is not asked. */
function readEdns(view: DataView, at: number, records: number): number | undefined | "malformed" {
  if (records === 0) return at === view.byteLength ? undefined : "malformed";
  if (records !== 1 || at + OPT_FIXED > view.byteLength) return "malformed";
  const isOpt = view.getUint8(at) === 0 && view.getUint16(at + 1) === OPT;
  const version = view.getUint8(at + 6);
  const length = view.getUint16(at + 9);
  if (!isOpt || version !== 0 || at + OPT_FIXED + length !== view.byteLength) return "malformed";
  return view.getUint16(at + 3);
}

function writeEdns(error: DnsAnswer["error"]): Uint8Array {
  const text = Array.from(error?.text ?? "", (c) => c.charCodeAt(0));
  const option = error === undefined ? [] : [EXTENDED_ERROR, 2 + text.length, ERROR_CODES[error.code]];
  return join([
    Uint8Array.of(0),
    ...[OPT, QUESTION_MAX, 0, 0, error === undefined ? 0 : 6 + text.length, ...option].map(u16),
    Uint8Array.from(text),
  ]);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const IS_ANSWER = 0x8000;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
const LABEL_MAX = 63;
/** With the lengths and the root's. */
const NAME_MAX = 255;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const RECORD_FIXED = 12;
const OPT = 41;
const OPT_FIXED = 11;
const EXTENDED_ERROR = 15;
const ERROR_CODES = { blocked: 15, unsupported: 21 } as const;
const NOTHING = new Uint8Array(0);
const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: "A",
  2: "NS",
  5: "CNAME",
  6: "SOA",
  10: "NULL",
  12: "PTR",
  13: "HINFO",
  15: "MX",
  16: "TXT",
  28: "AAAA",
  33: "SRV",
  35: "NAPTR",
  43: "DS",
  46: "RRSIG",
  48: "DNSKEY",
  64: "SVCB",
  65: "HTTPS",
  251: "IXFR",
  252: "AXFR",
  255: "ANY",
  257: "CAA",
};
