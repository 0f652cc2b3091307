// The first octet of a connection tells what is spoken on it: SOCKS5, TLS to the proxy, or HTTP. It is waited for within a
// time, and handed on unread; whatever is none of these is what HTTP makes of it: malformed.

import { SOCKS5_VERSION } from "../net/socks5.ts";
import type { Connection } from "./connection.ts";
import type { ByteStream } from "./downstream.ts";
import { ignoreError } from "./ignore-error.ts";
import type { Parts } from "./parts.ts";
import { serve, unforeseen } from "./serve.ts";
import { socks5 } from "./socks5.ts";
import { tlsDoor } from "./tls-door.ts";

/** `transport`: the TCP connection that `socket` is, or runs over. */
export function sniff(parts: Parts, connection: Connection, socket: ByteStream, transport = socket): void {
  const held = { drain: () => socket.destroySoon(), destroy: () => void socket.destroy() };
  const quit = (): void => socket.destroySoon();
  const left = (): void => parts.live.close(held);
  const onData = (chunk: Buffer): void => {
    socket.off("end", quit);
    socket.off("timeout", quit);
    socket.off("close", left);
    open(parts, connection, { socket, transport, octet: chunk[0] });
    // Whoever listens now gets it as it came.
    socket.unshift(chunk);
    left();
  };
  socket.on("error", ignoreError);
  socket.once("end", quit);
  socket.once("timeout", quit);
  socket.once("close", left);
  socket.setTimeout(parts.limits.headMs);
  parts.live.open(held);
  socket.once("data", onData);
}

type Sniffed = {
  readonly socket: ByteStream;
  readonly transport: ByteStream;
  readonly octet: number | undefined;
};

function open(parts: Parts, connection: Connection, { socket, transport, octet }: Sniffed): void {
  if (octet === SOCKS5_VERSION) return socks5(parts, connection, socket, transport);
  // TLS once: what is inside it is HTTP or SOCKS5.
  if (octet === TLS_HANDSHAKE && socket === transport) {
    const enter = (inner: Connection, secured: ByteStream): void => sniff(parts, inner, secured, transport);
    tlsDoor({ parts, connection, socket, enter }).catch(unforeseen(parts, socket));
  } else serve(parts, connection, socket, transport);
}

/** Content type of the record that a ClientHello comes in (RFC 8446 §5.1). */
export const TLS_HANDSHAKE = 0x16;
