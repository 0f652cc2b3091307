// IP addresses as values: canonical text, class by the IANA special-purpose registries, networks.
// It reads one spelling of IPv4 only (four plain decimal octets) and must never guess at another.

import { ownText } from "./own-text.ts";

declare const brand: unique symbol;
/** Canonical text of an IPv4 or IPv6 address (RFC 5952); no zone, no brackets. */
export type Address = string & { readonly [brand]: "Address" };

export type AddressClass =
  | "public"
  | "loopback"
  | "private"
  | "link-local"
  | "metadata"
  | "cgnat"
  | "multicast"
  | "reserved"
  /** IPv6 that carries an IPv4 address: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP. */
  | "embedded";

/** A CIDR block, or a single address as a full-length one. Bytes: 4 or 16. */
export type Network = { readonly bytes: Uint8Array; readonly prefix: number };

export function parseAddress(text: string): Address | undefined {
  const bytes = parseBytes(text);
  return bytes && (bytes.length === 4 ? (ownText(text) as Address) : formatV6(bytes));
}

export function classify(address: Address): AddressClass {
  return read(address).class;
}

/** What an address says, read once: the same few are asked about again and again, and the tables below never change. */
function read(address: Address): Read {
  const known = reads.get(address);
  if (known !== undefined) return known;
  const bytes = parseBytes(address);
  if (!bytes) throw new TypeError("not an address");
  if (reads.size >= READS_MAX) reads.clear();
  const found = { bytes, class: classOf(bytes) };
  reads.set(address, found);
  return found;
}

function classOf(bytes: Uint8Array): AddressClass {
  const named = (bytes.length === 4 ? SPECIAL_V4 : SPECIAL_V6).find(({ network }) => covers(network, bytes));
  if (bytes.length === 4) return named?.class ?? "public";
  if (named?.class !== "metadata" && named?.class !== "multicast" && isIsatap(bytes)) return "embedded";
  // IANA has delegated 2000::/3 only; what else is not named above is not yet anybody's.
  return named?.class ?? (bytes[0]! >> 5 === 1 ? "public" : "reserved");
}

/** `10.0.0.0/8`, `2001:db8::/32` or an address. Host bits set beyond the prefix are undefined. */
export function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf("/");
  const bytes = parseBytes(slash < 0 ? text : text.slice(0, slash));
  if (!bytes) return undefined;
  const bits = bytes.length * 8;
  if (slash < 0) return { bytes, prefix: bits };
  const digits = text.slice(slash + 1);
  const prefix = Number(digits);
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(digits) || prefix > bits) return undefined;
  for (let bit = prefix; bit < bits; bit++) {
    if (bytes[bit >> 3]! & (0x80 >> (bit & 7))) return undefined;
  }
  return { bytes, prefix };
}

/** Whether any address is in both. */
export function overlap(one: Network, other: Network): boolean {
  const [wide, narrow] = one.prefix <= other.prefix ? [one, other] : [other, one];
  return covers(wide, narrow.bytes);
}

/** As IPv4, where a listener or a balancer for both families writes IPv4 inside IPv6. */
export function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

/** Of IPv4 inside IPv6: no source is written so, since what arrives that way is taken for the IPv4 that it is. */
export function isMapped({ bytes, prefix }: Network): boolean {
  return prefix >= MAPPED.prefix && covers(MAPPED, bytes);
}

/** Families never mix: an IPv4-mapped address is not in an IPv4 network. */
export function contains(network: Network, address: Address): boolean {
  return covers(network, read(address).bytes);
}

function covers({ bytes, prefix }: Network, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false;
  const whole = prefix >> 3;
  for (let at = 0; at < whole; at++) {
    if (bytes[at] !== address[at]) return false;
  }
  const rest = prefix & 7;
  return rest === 0 || (bytes[whole]! ^ address[whole]!) >> (8 - rest) === 0;
}

/** RFC 5214 §6.1: the interface identifier is 0000:5efe or 0200:5efe, then an IPv4 address. */
function isIsatap(bytes: Uint8Array): boolean {
  return (bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
}

function parseBytes(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseV6(text) : parseV4(text);
}

function parseV4(text: string): Uint8Array | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  const bytes = new Uint8Array(4);
  let octet = 0;
  let value = 0;
  let digits = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (digits === 0 || octet === 3) return undefined;
      bytes[octet++] = value;
      value = digits = 0;
      continue;
    }
    if (code < ZERO || code > NINE || (digits > 0 && value === 0)) return undefined;
    value = value * 10 + code - ZERO;
    digits++;
    if (value > 255) return undefined;
  }
  if (octet < 3 || digits === 0) return undefined;
  bytes[3] = value;
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  if (text.length > "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 1 ? [] : groups(halves[1]!, true);
  if (!head || !tail) return undefined;
  const octets = head.length + tail.length;
  // `::` stands for one group at least (RFC 4291 §2.2).
  if (halves.length === 1 ? octets !== 16 : octets > 14) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Octets of the groups on one side of `::`; only the last side may end in dotted IPv4. */
function groups(text: string, last: boolean): number[] | undefined {
  const octets: number[] = [];
  if (text === "") return octets;
  const parts = text.split(":");
  for (const [at, part] of parts.entries()) {
    if (last && at === parts.length - 1 && part.includes(".")) {
      const v4 = parseV4(part);
      if (!v4) return undefined;
      octets.push(...v4);
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    const group = Number.parseInt(part, 16);
    octets.push(group >> 8, group & 0xff);
  }
  return octets;
}

/** RFC 5952 §4 and, for IPv4-mapped addresses, §5. */
function formatV6(bytes: Uint8Array): Address {
  if (covers(MAPPED, bytes)) return `::ffff:${bytes.subarray(12).join(".")}` as Address;
  const parts = Array.from({ length: 8 }, (_, at) =>
    ((bytes[at * 2]! << 8) | bytes[at * 2 + 1]!).toString(16),
  );
  const [start, length] = longestZeros(parts);
  if (length < 2) return parts.join(":") as Address;
  return `${parts.slice(0, start).join(":")}::${parts.slice(start + length).join(":")}` as Address;
}

function longestZeros(parts: readonly string[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let run = 0;
  for (const [at, part] of parts.entries()) {
    run = part === "0" ? run + 1 : 0;
    if (run > best[1]) best = [at - run + 1, run];
  }
  return best;
}

const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;

const MAPPED: Network = {
  bytes: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0),
  prefix: 96,
};

type Read = { readonly bytes: Uint8Array; readonly class: AddressClass };
const reads = new Map<Address, Read>();
const READS_MAX = 4_096;

type Special = { readonly network: Network; readonly class: AddressClass };

function special(rows: readonly (readonly [block: string, as: AddressClass])[]): Special[] {
  return rows.map(([block, as]) => ({ network: parseNetwork(block)!, class: as }));
}

// First match counts, so the narrower block stands first.
// https://www.iana.org/assignments/iana-ipv4-special-registry
const SPECIAL_V4 = special([
  ["169.254.169.254", "metadata"], // AWS, Azure, Google, Oracle, OpenStack and most others
  ["169.254.170.2", "metadata"], // AWS ECS credentials
  ["169.254.170.23", "metadata"], // AWS EKS credentials
  ["169.254.42.42", "metadata"], // Scaleway
  ["169.254.0.23", "metadata"], // Tencent
  ["168.63.129.16", "metadata"], // Azure's wire server: a public address with an inside meaning
  ["100.100.100.200", "metadata"], // Alibaba
  ["192.0.0.192", "metadata"], // Oracle, classic
  ["0.0.0.0/8", "reserved"],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "cgnat"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "reserved"],
  ["192.0.2.0/24", "reserved"],
  ["192.31.196.0/24", "reserved"],
  ["192.52.193.0/24", "reserved"],
  ["192.88.99.0/24", "reserved"],
  ["192.168.0.0/16", "private"],
  ["192.175.48.0/24", "reserved"],
  ["198.18.0.0/15", "reserved"],
  ["198.51.100.0/24", "reserved"],
  ["203.0.113.0/24", "reserved"],
  ["224.0.0.0/4", "multicast"],
  ["255.255.255.255", "multicast"],
  ["240.0.0.0/4", "reserved"],
]);

// https://www.iana.org/assignments/iana-ipv6-special-registry
const SPECIAL_V6 = special([
  ["fd00:ec2::254", "metadata"], // AWS
  ["fd00:ec2::23", "metadata"], // AWS EKS credentials
  ["fd20:ce::254", "metadata"], // Google
  ["fd00:42::42", "metadata"], // Scaleway
  ["fe80::a9fe:a9fe", "metadata"], // OpenStack
  ["::/128", "reserved"],
  ["::1/128", "loopback"],
  ["::/96", "embedded"], // IPv4-compatible
  ["::ffff:0:0/96", "embedded"], // IPv4-mapped
  ["::ffff:0:0:0/96", "embedded"], // IPv4-translated (SIIT)
  ["64:ff9b::/96", "embedded"], // NAT64
  ["64:ff9b:1::/48", "embedded"], // NAT64, local use
  ["100::/64", "reserved"],
  ["2001::/32", "embedded"], // Teredo
  ["2001::/23", "reserved"],
  ["2001:db8::/32", "reserved"],
  ["2002::/16", "embedded"], // 6to4
  ["2620:4f:8000::/48", "reserved"],
  ["3fff::/20", "reserved"],
  ["5f00::/16", "reserved"],
  ["fc00::/7", "private"],
  ["fe80::/10", "link-local"],
  ["fec0::/10", "reserved"],
  ["ff00::/8", "multicast"],
]);
