// A parent proxy that keeps every octet it gets, over TCP or TLS: it opens tunnels on loopback, or answers as it is told.

import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { Issued } from "./pki.ts";

export type RecordingParent = AsyncDisposable & {
  readonly port: number;
  /** TCP connections accepted, used or not. */
  readonly connections: number;
  /** Connections that are open. */
  readonly open: number;
  /** The heads of requests for tunnels, whole, latin1. */
  readonly heads: readonly string[];
  /** All octets received, heads and tunnels, latin1. */
  readonly received: string;
  /** What each connection does once its head is there, from now on; by default `openTunnels()`. */
  behave(behaviour: ParentBehaviour): void;
  /** Closes every connection. */
  hangUp(): void;
  /** Forgets what was received. */
  reset(): void;
};

export type ParentBehaviour = (asked: {
  readonly head: string;
  /** What arrived behind the head; the connection is paused. */
  readonly rest: Buffer;
  readonly socket: Socket;
}) => void;

export async function recordingParent(
  certificate?: Issued,
  at: { readonly address?: string; readonly port?: number } = {},
): Promise<RecordingParent> {
  const state = { received: "", connections: 0, heads: [] as string[], behaviour: openTunnels() };
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let held = Buffer.alloc(0);
    let begun = false;
    socket.on("data", (chunk: Buffer) => {
      state.received += chunk.toString("latin1");
      if (begun) return;
      held = Buffer.concat([held, chunk]);
      const end = held.indexOf("\r\n\r\n");
      if (end === -1) return;
      begun = true;
      socket.pause();
      const head = held.toString("latin1", 0, end + 4);
      state.heads.push(head);
      state.behaviour({ head, rest: held.subarray(end + 4), socket });
    });
  };
  const server =
    certificate === undefined
      ? createTcpServer(accept)
      : createTlsServer({ cert: certificate.chain, key: certificate.key }, accept);
  server.on("connection", () => state.connections++);
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port ?? 0, at.address ?? "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return state.connections;
    },
    get open() {
      return sockets.size;
    },
    get heads() {
      return state.heads;
    },
    get received() {
      return state.received;
    },
    behave(next) {
      state.behaviour = next;
    },
    hangUp() {
      for (const socket of sockets) socket.destroy();
    },
    reset() {
      state.received = "";
      state.connections = 0;
      state.heads = [];
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** `names`: what the parent resolves names to; addresses are connected to as they are. */
export function openTunnels(names: Readonly<Record<string, string>> = {}): ParentBehaviour {
  return ({ head, rest, socket }) => {
    const [, bracketed, plain = "", port] =
      /^CONNECT (?:\[([^\]]+)\]|([^: ]+)):(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const host = bracketed ?? plain;
    const far = connect({ host: names[host] ?? host, port: Number(port) });
    far.on("error", () => socket.end("HTTP/1.1 503 Unreachable\r\nContent-Length: 0\r\n\r\n"));
    far.once("connect", () => {
      socket.write("HTTP/1.1 200 Connection established\r\nVia: 1.1 parent\r\n\r\n");
      if (rest.length > 0) far.write(rest);
      socket.pipe(far).pipe(socket);
    });
    far.on("close", () => socket.destroy());
    socket.on("close", () => far.destroy());
  };
}

/** Answers the head with these octets; `end`: and closes. */
export function parentSays(octets: string, { end = false } = {}): ParentBehaviour {
  return ({ socket }) => {
    socket.resume();
    if (end) socket.end(octets, "latin1");
    else socket.write(octets, "latin1");
  };
}
