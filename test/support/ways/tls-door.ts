// A way into the proxy by TLS to itself.

import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

/** A connection to the proxy, ready for HTTP or SOCKS5; the error where the handshake fails. */
export function tlsToProxy(port: number, options: ConnectionOptions): Promise<TLSSocket | Error> {
  const socket = connect({ port, host: "127.0.0.1", ...options });
  return new Promise((resolve) => {
    socket.once("secureConnect", () => resolve(socket));
    socket.on("error", resolve);
    socket.once("close", () => resolve(new Error("closed")));
  });
}
