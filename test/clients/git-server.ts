// A git server over HTTPS: git http-backend behind Node, which lets everybody push, so that only the proxy stands between.
// Remembers every request and how many octets of body it got.

import { spawn } from "node:child_process";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Issued } from "../support/pki.ts";
import { plainEnvironment } from "../support/real-sallyport.ts";

export type GitServer = AsyncDisposable & {
  readonly port: number;
  /** `METHOD path?query`, and the octets of its body. */
  readonly requests: { readonly line: string; octets: number }[];
};

/** Serves the bare repositories in `root`. */
export async function gitServer(
  root: string,
  certificate: Issued,
  address = "127.0.0.1",
): Promise<GitServer> {
  const requests: { line: string; octets: number }[] = [];
  const server = createServer({ cert: certificate.chain, key: certificate.key }, (request, response) => {
    const seen = { line: `${request.method} ${request.url}`, octets: 0 };
    requests.push(seen);
    request.on("data", (chunk: Buffer) => (seen.octets += chunk.length));
    backend(root, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, address, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** RFC 3875, as much of it as git http-backend reads. */
async function backend(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "https://server.invalid");
  const { headers } = request;
  const child = spawn("git", ["http-backend"], {
    env: {
      ...plainEnvironment(),
      HOME: root,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      REMOTE_USER: "anybody",
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: headers["content-type"],
      CONTENT_LENGTH: headers["content-length"],
      HTTP_CONTENT_ENCODING: headers["content-encoding"],
      GIT_PROTOCOL: headers["git-protocol"]?.toString(),
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  const [, answer] = await Promise.all([pipeline(request, child.stdin), collect(child.stdout)]);
  const end = answer.indexOf("\r\n\r\n");
  for (const line of answer.subarray(0, end).toString("latin1").split("\r\n")) {
    const [name = "", value = ""] = line.split(/: */, 2);
    if (name.toLowerCase() === "status") response.statusCode = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.end(answer.subarray(end + 4));
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
