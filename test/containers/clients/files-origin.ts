// An origin over TLS, on port 443, that serves a directory, a download at every path that ends in `/download`, and a WebSocket that echoes, and
// takes whatever is sent to it: so only the proxy stands between. Remembers each request.

import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join, normalize } from "node:path";
import { WebSocketServer } from "ws";
import type { Issued } from "../../support/pki.ts";

export type FilesOrigin = AsyncDisposable & {
  /** `METHOD path`, and `UPGRADE path`. */
  readonly requests: readonly string[];
};

export async function filesOrigin(
  directory: string,
  certificate: Issued,
  address: string,
): Promise<FilesOrigin> {
  const requests: string[] = [];
  const server = createServer({ cert: certificate.chain, key: certificate.key }, (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "https://origin.invalid");
    requests.push(`${request.method} ${pathname}`);
    request.resume();
    const reads = request.method === "GET" || request.method === "HEAD";
    if (!reads || pathname.endsWith("/download")) return void response.end(DOWNLOAD);
    const file = join(directory, normalize(decodeURIComponent(pathname)));
    readFile(file.endsWith("/") ? `${file}index.html` : file).then(
      (octets) => {
        if (/(?:\/|\.html)$/.test(pathname)) response.setHeader("Content-Type", "text/html");
        response.end(octets);
      },
      () => response.writeHead(404).end(),
    );
  });
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, request) => {
    requests.push(`UPGRADE ${request.url}`);
    socket.on("message", (text: Buffer) => socket.send(`<${text.toString()}>`));
  });
  await new Promise<void>((resolve) => void server.listen(443, address, resolve));
  return {
    requests,
    async [Symbol.asyncDispose]() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

export const DOWNLOAD = "the download\n";
