// Header fields as ordered raw pairs: [name, value, name, value, ...], latin1, as received.

export type HeaderPairs = readonly string[];

/** First value of a field by its lower-case name, or undefined. */
export function first(_headers: HeaderPairs, _name: string): string | undefined {
  throw new Error("not written yet");
}

/** Every value of a field by its lower-case name. */
export function all(_headers: HeaderPairs, _name: string): string[] {
  throw new Error("not written yet");
}

/** Lower-case tokens of all comma lists of a field (RFC 9110 §5.6.1). */
export function tokens(_headers: HeaderPairs, _name: string): string[] {
  throw new Error("not written yet");
}

/**
 * The end-to-end fields, in order and case: hop-by-hop fields (RFC 9110 §7.6.1), those that `Connection` names, proxy credentials
 * and challenges, framing (Content-Length, Transfer-Encoding, Trailer, TE) and look-alikes of it (`Transfer_Encoding`) are gone.
 * `Connection` cannot remove Host, Content-Length, Cache-Control, Authorization and their kind.
 */
export function endToEnd(_headers: HeaderPairs): string[] {
  throw new Error("not written yet");
}

/** Trailer fields that may be relayed (RFC 9110 §6.5.1): no framing, routing, authentication, or content-handling fields. */
export function safeTrailers(_trailers: HeaderPairs): string[] {
  throw new Error("not written yet");
}
