// The sandbox's side of a connection, octet by octet: what a hostile one sends is written out, not left to a library.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";

export type Wire = Disposable & {
  readonly socket: Socket | TLSSocket;
  /** All octets received, latin1. */
  readonly received: string;
  /** Until the connection is closed from the other side. */
  readonly open: boolean;
  /** The connection is closed from the other side, orderly or not. */
  readonly closed: Promise<void>;
  send(octets: string | Buffer): void;
  /** Resolves once `enough` holds of what was received, or the connection is closed. */
  until(enough: (received: string) => boolean): Promise<string>;
  /** What was received by the time the other side closed. */
  rest(): Promise<string>;
};

export function wireOf(socket: Socket | TLSSocket): Wire {
  let received = "";
  let ended = false;
  const looks = new Set<() => void>();
  const look = (): void => {
    for (const one of looks) one();
  };
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
    look();
  });
  const closed = new Promise<void>((resolve) => {
    const over = (): void => {
      ended = true;
      look();
      resolve();
    };
    socket.once("end", over);
    socket.once("close", over);
  });
  const until = (enough: (received: string) => boolean): Promise<string> =>
    new Promise((resolve) => {
      const one = (): void => {
        if (!ended && !enough(received)) return;
        looks.delete(one);
        resolve(received);
      };
      looks.add(one);
      one();
    });
  return {
    socket,
    closed,
    get open() {
      return !ended;
    },
    get received() {
      return received;
    },
    send: (octets) => void socket.write(octets, "latin1"),
    until,
    rest: () => until(() => false),
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** `halfOpen`: stays open for writing when the proxy has ended. */
export async function wire(port: number, { halfOpen = false } = {}): Promise<Wire> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: halfOpen, noDelay: true });
  await once(socket, "connect");
  return wireOf(socket);
}

/** The wire inside an intercepted tunnel. */
export async function tunnelWire(
  port: number,
  { authority, trustAnchor, headers = "" }: { authority: string; trustAnchor: string; headers?: string },
): Promise<Wire> {
  const outer = await wire(port);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${headers}\r\n`);
  const answer = await outer.until((text) => text.includes("\r\n\r\n"));
  if (!answer.startsWith("HTTP/1.1 200")) throw new Error(`CONNECT was answered ${answer}`);
  outer.socket.removeAllListeners("data");
  const servername = authority.replace(/:\d+$/, "");
  const secured = connectTls({
    socket: outer.socket,
    servername,
    ca: trustAnchor,
    ALPNProtocols: ["http/1.1"],
  });
  // Where the outer one was destroyed from here, there is neither a handshake nor an error.
  const gone = once(outer.socket, "close").then(() => Promise.reject(new Error("the tunnel was closed")));
  await Promise.race([once(secured, "secureConnect"), gone]);
  return wireOf(secured);
}

/** Whole answers with a Content-Length in `text`, and how many. */
export function answers(text: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end === -1) break;
    const head = text.slice(at, end);
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    if (text.length < end + 4 + length) break;
    found.push(text.slice(at, end + 4 + length));
    at = end + 4 + length;
  }
  return found;
}
