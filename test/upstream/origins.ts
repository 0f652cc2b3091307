// Origins for the tests of `upstream`: they count every byte of application data that reaches them.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { TlsOptions } from "node:tls";
import { Worker } from "node:worker_threads";

export type Origin = AsyncDisposable & {
  readonly port: number;
  /** Application bytes received, over all connections. */
  received(): number;
  /** Server names that ClientHellos carried; `""` for none. */
  readonly names: string[];
  connections(): number;
};

type Keys = { readonly chain: string; readonly key: string };

/** Echoes; its TLS is as weak as the case wants it. */
export async function tlsOrigin(keys: Keys, options: TlsOptions = {}): Promise<Origin> {
  const names: string[] = [];
  const server = createTlsServer({
    cert: keys.chain,
    key: keys.key,
    ciphers: "DEFAULT:@SECLEVEL=0",
    ...options,
  });
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (socket) => names.push(socket.servername || ""));
  return count(server, "secureConnection", names);
}

/** Accepts TCP and echoes. */
export async function tcpOrigin(host = "127.0.0.1", port = 0): Promise<Origin> {
  return count(createServer(), "connection", [], { host, port });
}

async function count(
  server: Server,
  event: string,
  names: string[],
  at = { host: "127.0.0.1", port: 0 },
): Promise<Origin> {
  let received = 0;
  const open = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections += 1;
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
  });
  server.on(event, (socket: Socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      received += data.length;
      socket.write(data);
    });
  });
  server.listen(at.port, at.host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    names,
    received: () => received,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A listening port whose accept queue is full: connecting to it is met by silence. Its thread sleeps and never accepts. */
export async function blackHole(): Promise<AsyncDisposable & { port: number }> {
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     const server = require("node:net").createServer();
     server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, "message")) as [number];
  const fill = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  // Two fit into the queue; from then on nobody is answered.
  await new Promise<void>((resolve) => {
    let connected = 0;
    for (const socket of fill) socket.on("connect", () => ++connected === 2 && resolve());
  });
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of fill) socket.destroy();
      await worker.terminate();
    },
  };
}
