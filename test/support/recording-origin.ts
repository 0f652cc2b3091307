// An origin that keeps every octet it gets, over TCP or TLS, and answers as it is told: the judge of what left the proxy.

import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Issued } from "./pki.ts";

export type RecordingOrigin = AsyncDisposable & {
  readonly port: number;
  /** TCP connections accepted, TLS or not, used or not. */
  readonly connections: number;
  /** Application octets received over all connections, latin1. */
  readonly received: string;
  /** Resolves once `enough` holds of what was received. */
  arrived(enough: (received: string) => boolean): Promise<string>;
  /** What each connection does from now on; by default `answerRequests(() => OK)`. */
  behave(behaviour: Behaviour): void;
  /** A connection once it got octets, which nothing answers by itself. */
  asked(): Promise<Socket>;
  /** Forgets what was received. */
  reset(): void;
};

/** Called for each connection; TLS is done. */
export type Behaviour = (socket: Socket | TLSSocket) => void;

/** `at`: an address of the loopback network, and a port; a free one by default. */
export async function recordingOrigin(
  certificate?: Issued,
  at: { readonly address?: string; readonly port?: number } = {},
): Promise<RecordingOrigin> {
  let received = "";
  let connections = 0;
  let behaviour: Behaviour = answerRequests(() => OK);
  const waiters = new Set<() => void>();
  const sockets = new Set<Socket>();
  const accept = (socket: Socket | TLSSocket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      for (const waiter of waiters) waiter();
    });
    behaviour(socket);
  };
  const server =
    certificate === undefined
      ? createTcpServer(accept)
      : createTlsServer(
          {
            cert: certificate.chain,
            key: certificate.key,
            ALPNProtocols: ["http/1.1"],
            // As weak as the case wants it.
            ciphers: "DEFAULT:@SECLEVEL=0",
          },
          accept,
        );
  server.on("connection", () => connections++);
  server.on("tlsClientError", () => {});
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
    arrived: (enough) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!enough(received)) return;
          waiters.delete(look);
          resolve(received);
        };
        waiters.add(look);
        look();
      }),
    behave(next) {
      behaviour = next;
    },
    asked: () =>
      new Promise((resolve) => {
        behaviour = (socket) => void socket.once("data", () => resolve(socket));
      }),
    reset() {
      received = "";
      connections = 0;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** Answers each whole request (head and Content-Length or chunked body) with the octets that `answer` gives for its head. */
export function answerRequests(answer: (head: string) => string): Behaviour {
  return (socket) => {
    let held = "";
    socket.on("data", (chunk: Buffer) => {
      held += chunk.toString("latin1");
      for (;;) {
        const end = held.indexOf("\r\n\r\n");
        if (end === -1) return;
        const head = held.slice(0, end);
        const length = bodyLength(head, held.slice(end + 4));
        if (length === undefined || held.length < end + 4 + length) return;
        held = held.slice(end + 4 + length);
        socket.write(answer(head), "latin1");
      }
    });
  };
}

function bodyLength(head: string, rest: string): number | undefined {
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const end = /(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(rest);
    return end === null ? undefined : end.index + end[0].length;
  }
  return Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}

export const OK = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
