// The TLS ClientHello, read before anything answers it (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301).

import type { Host } from "./host.ts";

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
export function readClientHello(_bytes: Uint8Array, _limit?: number): ClientHelloRead {
  throw new Error("not written yet");
}
