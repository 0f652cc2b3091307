// host:port, parsed once and strictly (RFC 9110 §4.2, RFC 9112 §3.2.3).

import type { Host } from "./host.ts";

export type Authority = { readonly host: Host; readonly port: number };

/**
 * Reads `host[:port]`; the port is plain decimal 1-65535 without sign or leading zero. Without a port, `defaultPort`
 * is taken; where that is undefined (CONNECT) the port must be there. Userinfo, spaces and controls are undefined.
 */
export function parseAuthority(_text: string, _defaultPort?: number): Authority | undefined {
  throw new Error("not written yet");
}

/** `host:port`, IPv6 in brackets; the port is left out where it equals `defaultPort`. */
export function formatAuthority(_authority: Authority, _defaultPort?: number): string {
  throw new Error("not written yet");
}

export function sameAuthority(a: Authority, b: Authority): boolean {
  return a.host === b.host && a.port === b.port;
}
