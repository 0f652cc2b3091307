// Node's own HTTP/2 server over TLS, on loopback, that can be got rid of whatever its sandboxes do.

import {
  createSecureServer,
  type Http2SecureServer,
  type SecureServerOptions,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";
import type { Issued } from "./pki.ts";

export type Http2Server = AsyncDisposable & { readonly server: Http2SecureServer; readonly port: number };

/** `at`: an address of the loopback network, and a port; a free one by default. */
export async function http2Server(
  certificate: Issued,
  options: SecureServerOptions = {},
  at: { readonly address?: string; readonly port?: number } = {},
): Promise<Http2Server> {
  const sessions = new Set<ServerHttp2Session>();
  const server = createSecureServer({ cert: certificate.chain, key: certificate.key, ...options });
  server.on("sessionError", () => {});
  server.on("tlsClientError", () => {});
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream) => void stream.on("error", () => {}));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port ?? 0, at.address ?? "127.0.0.1", resolve);
  });
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}
