// An origin that speaks HTTP/2 alone and keeps what it was asked: of each stream its method and path, of all of them how many
// connections they took.

import { createSecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Issued } from "./pki.ts";

export type RecordingHttp2Origin = AsyncDisposable & {
  readonly port: number;
  readonly connections: number;
  /** `METHOD path` of each stream. */
  readonly received: string;
  reset(): void;
};

/** `at`: an address of the loopback network, and a port; a free one by default. */
export async function recordingHttp2Origin(
  certificate: Issued,
  at: { readonly address?: string; readonly port?: number } = {},
): Promise<RecordingHttp2Origin> {
  let received = "";
  let connections = 0;
  const sessions = new Set<ServerHttp2Session>();
  const server = createSecureServer({ cert: certificate.chain, key: certificate.key });
  server.on("connection", () => connections++);
  server.on("sessionError", () => {});
  server.on("tlsClientError", () => {});
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    received += `${headers[":method"]} ${headers[":path"]}\n`;
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-length": "3" });
    stream.end("ok\n");
    stream.resume();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port ?? 0, at.address ?? "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get received() {
      return received;
    },
    reset() {
      received = "";
      connections = 0;
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}
