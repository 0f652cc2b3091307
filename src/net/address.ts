// IP addresses as values: canonical text, class by the IANA special-purpose registries, networks.

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

export function parseAddress(_text: string): Address | undefined {
  throw new Error("not written yet");
}

export function classify(_address: Address): AddressClass {
  throw new Error("not written yet");
}

/** `10.0.0.0/8`, `2001:db8::/32` or an address. Host bits set beyond the prefix are undefined. */
export function parseNetwork(_text: string): Network | undefined {
  throw new Error("not written yet");
}

/** Families never mix: an IPv4-mapped address is not in an IPv4 network. */
export function contains(_network: Network, _address: Address): boolean {
  throw new Error("not written yet");
}
