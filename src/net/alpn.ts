// What is offered in a TLS handshake, as it stands on the wire.

/**
 * ALPN's list of protocols (RFC 7301 §3.1). A DataView: of anything else Node makes a copy in the pool of its Buffers, and each
 * connection, however idle, keeps 64 KiB of that from being freed.
 */
export function alpnList(protocols: readonly string[]): DataView {
  const octets = protocols.flatMap((name) => [name.length, ...Buffer.from(name, "latin1")]);
  return new DataView(Uint8Array.from(octets).buffer);
}
