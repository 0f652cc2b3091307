// Which protocol is spoken inside an intercepted tunnel, by what its ClientHello offers. One is chosen before the handshake; where it
// was not offered, TLS itself refuses (no_application_protocol).

import { type ByteStream } from "./downstream.ts";

/** `auto`: only with clients that speak nothing else, so that those who gain nothing by HTTP/2 do not pay for it. */
export type Http2Use = "auto" | "always" | "never";

export type Protocol = "http/1.1" | "h2";

export function chooseAlpn(use: Http2Use, offered: readonly string[] = []): Protocol {
  if (use === "never" || !offered.includes("h2")) return "http/1.1";
  return use === "always" || !offered.includes("http/1.1") ? "h2" : "http/1.1";
}

/** What the handshake came to. */
export function isHttp2(socket: ByteStream & { readonly alpnProtocol?: unknown }): boolean {
  return socket.alpnProtocol === "h2";
}
