// host:port, parsed once and strictly (RFC 9110 §4.2, RFC 9112 §3.2.3).

import { type Host, parseHost } from "./host.ts";

export type Authority = { readonly host: Host; readonly port: number };

/**
 * Reads `host[:port]`; the port is plain decimal 1-65535 without sign or leading zero. Without a port, `defaultPort`
 * is taken; where that is undefined (CONNECT) the port must be there. Userinfo, spaces and controls are undefined.
 */
export function parseAuthority(text: string, defaultPort?: number): Authority | undefined {
  // Inside brackets colons belong to the address.
  const colon = text.indexOf(":", text.startsWith("[") ? text.indexOf("]") : 0);
  const port = colon < 0 ? defaultPort : parsePort(text, colon + 1);
  if (port === undefined) return undefined;
  const host = parseHost(colon < 0 ? text : text.slice(0, colon));
  return host === undefined ? undefined : { host, port };
}

/** `host:port`, IPv6 in brackets; the port is left out where it equals `defaultPort`. */
export function formatAuthority({ host, port }: Authority, defaultPort?: number): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === defaultPort ? name : `${name}:${port}`;
}

export function sameAuthority(a: Authority, b: Authority): boolean {
  return a.host === b.host && a.port === b.port;
}

/** Plain decimal 1-65535 from `start` to the end of `text`; no sign, no leading zero. */
export function parsePort(text: string, start: number): number | undefined {
  const length = text.length - start;
  if (length < 1 || length > 5 || text.charCodeAt(start) === ZERO) return undefined;
  let port = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < ZERO || code > NINE) return undefined;
    port = port * 10 + code - ZERO;
  }
  return port <= PORT_MAX ? port : undefined;
}

const PORT_MAX = 65_535;
const ZERO = 0x30;
const NINE = 0x39;
