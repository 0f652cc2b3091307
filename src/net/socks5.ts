// What a sandbox says in SOCKS5 before its own octets (RFC 1928, RFC 1929), read in one way only. What it says of a prefix
// it says of every longer one, except for "incomplete"; what follows a message is left to whoever reads next.

import { parseAddress } from "./address.ts";

export type Socks5Read<Message> =
  | { readonly state: "incomplete" | "malformed" }
  /** `octets`: how many of those given the message took. */
  | { readonly state: "complete"; readonly message: Message; readonly octets: number };

/** The ways to say who one is that the sandbox offers (RFC 1928 §3). */
export type Greeting = { readonly methods: ReadonlySet<number> };

/** RFC 1929 §2; octets as latin1, either may be empty. */
export type UserPassword = { readonly user: string; readonly password: string };

export type Socks5Request = {
  readonly command: "connect" | "bind" | "udp-associate";
  /** `host:port` as in a CONNECT's request target, the name as it was sent: to be read by its one parser. */
  readonly authority: string;
};

export const SOCKS5_VERSION = 5;
/** Methods of a greeting. */
export const NO_CREDENTIALS = 0x00;
export const USER_PASSWORD = 0x02;

export function readGreeting(bytes: Uint8Array): Socks5Read<Greeting> {
  if (bytes.length > 0 && bytes[0] !== SOCKS5_VERSION) return MALFORMED;
  if (bytes.length < 2) return INCOMPLETE;
  const octets = 2 + bytes[1]!;
  if (octets === 2) return MALFORMED;
  if (bytes.length < octets) return INCOMPLETE;
  return { state: "complete", message: { methods: new Set(bytes.subarray(2, octets)) }, octets };
}

export function readUserPassword(bytes: Uint8Array): Socks5Read<UserPassword> {
  if (bytes.length > 0 && bytes[0] !== USER_PASSWORD_VERSION) return MALFORMED;
  if (bytes.length < 2) return INCOMPLETE;
  const end = 2 + bytes[1]!;
  if (bytes.length <= end) return INCOMPLETE;
  const octets = end + 1 + bytes[end]!;
  if (bytes.length < octets) return INCOMPLETE;
  const message = { user: latin1(bytes, 2, end), password: latin1(bytes, end + 1, octets) };
  return { state: "complete", message, octets };
}

export function readSocks5Request(bytes: Uint8Array): Socks5Read<Socks5Request> {
  if (bytes.length > 0 && bytes[0] !== SOCKS5_VERSION) return MALFORMED;
  const command = bytes.length > 1 ? COMMANDS[bytes[1]!] : undefined;
  if (bytes.length > 1 && command === undefined) return MALFORMED;
  if (bytes.length > 2 && bytes[2] !== 0) return MALFORMED;
  if (bytes.length > 3 && ![IPV4, NAME, IPV6].includes(bytes[3]!)) return MALFORMED;
  if (bytes.length < 5) return INCOMPLETE;
  const kind = bytes[3]!;
  const start = kind === NAME ? 5 : 4;
  const end = start + (kind === NAME ? bytes[4]! : kind === IPV4 ? 4 : 16);
  if (end === start) return MALFORMED;
  if (bytes.length < end + 2) return INCOMPLETE;
  const port = (bytes[end]! << 8) | bytes[end + 1]!;
  const host = hostText(kind, bytes.subarray(start, end));
  return {
    state: "complete",
    message: { command: command!, authority: `${host}:${port}` },
    octets: end + 2,
  };
}

function hostText(kind: number, octets: Uint8Array): string {
  if (kind === NAME) return latin1(octets, 0, octets.length);
  if (kind === IPV4) return octets.join(".");
  const groups = Array.from({ length: 8 }, (_, at) =>
    ((octets[at * 2]! << 8) | octets[at * 2 + 1]!).toString(16),
  );
  return `[${parseAddress(groups.join(":"))}]`;
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}

const COMMANDS: Readonly<Record<number, Socks5Request["command"]>> = {
  1: "connect",
  2: "bind",
  3: "udp-associate",
};
const USER_PASSWORD_VERSION = 1;
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;
const MALFORMED = { state: "malformed" } as const;
const INCOMPLETE = { state: "incomplete" } as const;
