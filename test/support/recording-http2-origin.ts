// An origin that speaks HTTP/2 alone and keeps what it was asked: of each stream its method and path, of all of them how many
// connections they took.

import type { Issued } from "./pki.ts";
import { http2Server } from "./http2-server.ts";

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
  const { server, port, [Symbol.asyncDispose]: end } = await http2Server(certificate, {}, at);
  server.on("connection", () => connections++);
  server.on("stream", (stream, headers) => {
    received += `${headers[":method"]} ${headers[":path"]}\n`;
    stream.respond({ ":status": 200, "content-length": "3" });
    stream.end("ok\n");
    stream.resume();
  });
  return {
    port,
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
    [Symbol.asyncDispose]: end,
  };
}
