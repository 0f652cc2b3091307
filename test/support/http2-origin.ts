// An origin that speaks HTTP/2 frame by frame: what a hostile one sends is written out, not left to a library. It decodes no
// header blocks; what it got, it keeps as frames.

import type { AddressInfo, Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import {
  block,
  DATA,
  END_HEADERS,
  frame,
  type Frame,
  frameIn,
  GOAWAY,
  HEADERS,
  PREFACE,
  RST_STREAM,
  setting,
  SETTINGS,
  u32,
} from "./http2-octets.ts";
import type { Issued } from "./pki.ts";

/** `[id, value]` pairs. */
export const settings = (...pairs: readonly (readonly [number, number])[]): Buffer =>
  frame(SETTINGS, 0, 0, Buffer.concat(pairs.map(([id, value]) => setting(id, value))));

/** Names and values in turn. */
export const fields = (pairs: readonly string[]): Buffer =>
  block(Array.from({ length: pairs.length / 2 }, (_, at) => [pairs[2 * at] ?? "", pairs[2 * at + 1] ?? ""]));

export const headers = (stream: number, pairs: readonly string[], flags = END_HEADERS): Buffer =>
  frame(HEADERS, flags, stream, fields(pairs));
export const data = (stream: number, octets: Buffer | string, flags = 0): Buffer =>
  frame(DATA, flags, stream, octets);
export const reset = (stream: number, code: number): Buffer => frame(RST_STREAM, 0, stream, u32(code));
export const goaway = (last: number, code: number): Buffer => frame(GOAWAY, 0, 0, u32(last, code));

/** One connection, after the client's preface. */
export type Peer = {
  readonly socket: TLSSocket;
  readonly frames: readonly Frame[];
  readonly closed: boolean;
  send(...octets: readonly Buffer[]): void;
  /** Resolves with the first frame received, now or later, of which this holds; rejects where the connection ends first. */
  got(which: (frame: Frame) => boolean): Promise<Frame>;
  /** Resolves once the connection is closed. */
  readonly end: Promise<void>;
};

export type Http2Origin = AsyncDisposable & { readonly port: number; readonly peers: readonly Peer[] };

/** `behave` is called for each connection as it is secured. SETTINGS are acknowledged for it, once it has sent anything. */
export async function http2Origin(
  certificate: Issued,
  behave: (peer: Peer) => void,
  {
    alpn = ["h2"],
    halfOpen = false,
  }: { readonly alpn?: readonly string[]; readonly halfOpen?: boolean } = {},
): Promise<Http2Origin> {
  const peers: Peer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(
    { cert: certificate.chain, key: certificate.key, ALPNProtocols: [...alpn], allowHalfOpen: halfOpen },
    (socket) => {
      const peer = peerOf(socket);
      peers.push(peer);
      behave(peer);
    },
  );
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

function peerOf(socket: TLSSocket): Peer {
  const frames: Frame[] = [];
  const looks = new Set<() => void>();
  let held: Buffer = Buffer.alloc(0);
  let preface = PREFACE.length;
  let closed = false;
  let spoken = false;
  const look = (): void => {
    for (const one of looks) one();
  };
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    if (held.length < preface) return;
    held = held.subarray(preface);
    preface = 0;
    for (let next = frameIn(held); next !== undefined; next = frameIn(held)) {
      held = held.subarray(9 + next.payload.length);
      frames.push(next);
      if (next.type === SETTINGS && (next.flags & 1) === 0 && spoken) socket.write(frame(SETTINGS, 1, 0));
    }
    look();
  });
  const end = new Promise<void>((resolve) => {
    socket.once("close", () => {
      closed = true;
      look();
      resolve();
    });
  });
  return {
    socket,
    frames,
    end,
    get closed() {
      return closed;
    },
    send(...octets) {
      spoken = true;
      if (!closed) socket.write(Buffer.concat(octets));
    },
    got: (which) =>
      new Promise((resolve, reject) => {
        const one = (): void => {
          const found = frames.find(which);
          if (found === undefined && !closed) return;
          looks.delete(one);
          if (found === undefined) reject(new Error("closed"));
          else resolve(found);
        };
        looks.add(one);
        one();
      }),
  };
}

/** Calls back for the head of each request; the first stream is 1. */
export function onRequests(answer: (peer: Peer, stream: number) => void): (peer: Peer) => void {
  return (peer) => {
    peer.send(settings());
    let seen = 0;
    const look = async (): Promise<void> => {
      for (;;) {
        const next = await peer.got(({ type, stream }) => type === HEADERS && stream > seen);
        seen = next.stream;
        answer(peer, next.stream);
      }
    };
    look().catch(() => {});
  };
}
