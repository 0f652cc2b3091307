// A host in its one canonical spelling. Whatever cannot be brought to it is undefined, and so denied.

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
export function parseHost(_text: string): Host | undefined {
  throw new Error("not written yet");
}

/** As `parseHost`, for operators' files and the command line: U-labels are taken through IDNA (UTS 46) first. */
export function parseHostUnicode(_text: string): Host | undefined {
  throw new Error("not written yet");
}

export function isAddressLiteral(_host: Host): boolean {
  throw new Error("not written yet");
}
