// The name server for sandboxes that have no other: reads questions over UDP and TCP, within bounds on their number and
// size, and answers each from its own socket. Never answers an answer, nor a question that has no record.

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { HEADER, QUESTION_MAX, readQuestion } from "../net/dns-message.ts";
import { ProxyFault } from "../net/fault.ts";
import { Connection, type Peer } from "./connection.ts";
import { answerQuestion, type Responder } from "./dns-question.ts";
import { createDnsRate, type DnsRate } from "./dns-rate.ts";
import { ignoreError } from "./ignore-error.ts";
import { bind, type Listener, type Occupancy } from "./listener.ts";
import type { Parts } from "./parts.ts";

export type ResponderOptions = Responder & {
  readonly host: string;
  /** Of UDP and TCP both; 0 takes a free one. */
  readonly port: number;
  readonly occupancy: Occupancy;
  readonly questionsPerSecond: number;
  readonly questionBurst: number;
};

export async function startResponder(parts: Parts, options: ResponderOptions): Promise<Listener> {
  const { questionsPerSecond: perSecond, questionBurst: burst } = options;
  const desk = new Desk(parts, options, createDnsRate({ perSecond, burst }));
  const host = options.host === "localhost" ? "127.0.0.1" : options.host;
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    desk.converse(socket);
  });
  await bind(server, host, options.port);
  server.on("error", (error) => parts.log.error("a connection could not be accepted", { error }));
  const { address, port } = server.address() as AddressInfo;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of open) socket.destroy();
    });
  let udp: UdpSocket;
  try {
    udp = await bindUdp(host, port);
  } catch (error) {
    await close();
    throw error;
  }
  udp.on("error", (error) => parts.log.error("a question could not be read", { error }));
  udp.on("message", (message, from) => desk.receive(udp, message, from));
  return {
    address,
    port,
    // Questions over UDP are answered to the end: whoever asks has nobody else to turn to.
    retire: () => void server.close(),
    close: async () => {
      await Promise.all([close(), desk.closeUdp(udp)]);
    },
  };
}

/** Where questions come in, whichever way. */
class Desk {
  readonly #parts: Parts;
  readonly #options: ResponderOptions;
  readonly #rate: DnsRate;
  /** Questions whose record is being written. */
  #waiting = 0;
  #closed = false;

  constructor(parts: Parts, options: ResponderOptions, rate: DnsRate) {
    this.#parts = parts;
    this.#options = options;
    this.#rate = rate;
  }

  receive(udp: UdpSocket, message: Buffer, { address, port }: RemoteInfo): void {
    // Other services' ports: an answer to one of them might be answered in turn.
    if (port < UNPRIVILEGED) return this.#parts.metrics.malformed("dns-malformed");
    this.#answer(message, { peer: { address, port }, overUdp: true })
      .then((answer) => {
        // An asker that is gone is no fault of ours.
        if (answer instanceof Uint8Array && !this.#closed) udp.send(answer, port, address, () => {});
      })
      .catch((error: unknown) => this.#failed(error));
  }

  /** A connection's questions, one after the other. */
  converse(socket: Socket): void {
    const parts = this.#parts;
    const { occupancy } = this.#options;
    const source = socket.remoteAddress ?? "unknown";
    socket.on("error", ignoreError);
    if (!occupancy.enter(source, parts.limits)) {
      parts.metrics.limit("too-many-connections");
      return void socket.resetAndDestroy();
    }
    parts.metrics.connectionOpen();
    // From one message's end to the next one's: also whoever sends an octet a minute is waited for no longer.
    const deadline = setTimeout(() => socket.destroy(), parts.limits.headMs);
    socket.once("close", () => {
      clearTimeout(deadline);
      occupancy.leave(source);
      parts.metrics.connectionClose("completed");
    });
    const peer = { address: source, port: socket.remotePort ?? 0 };
    let held = Buffer.alloc(0);
    let answering = false;
    const next = async (): Promise<void> => {
      while (held.length >= 2 && !socket.destroyed) {
        const length = held.readUInt16BE(0);
        // Nothing that long, or that short, is a question.
        if (length < HEADER || length > QUESTION_MAX) {
          parts.metrics.malformed("dns-malformed");
          return void socket.destroy();
        }
        if (held.length < 2 + length) break;
        const message = held.subarray(2, 2 + length);
        held = held.subarray(2 + length);
        const answer = await this.#answer(message, { peer, overUdp: false });
        if (!(answer instanceof Uint8Array)) return void socket.destroy();
        if (socket.destroyed) return;
        const prefix = Buffer.alloc(2);
        prefix.writeUInt16BE(answer.length);
        deadline.refresh();
        if (!socket.write(Buffer.concat([prefix, answer]))) await drained(socket);
      }
      answering = false;
      // It asks no more, and has been told all.
      if (socket.readableEnded) socket.end();
      else socket.resume();
    };
    socket.once("end", () => void (answering || socket.end()));
    socket.on("data", (chunk) => {
      answering = true;
      socket.pause();
      held = Buffer.concat([held, chunk]);
      next().catch((error: unknown) => {
        this.#failed(error);
        socket.destroy();
      });
    });
  }

  async closeUdp(udp: UdpSocket): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => void udp.close(resolve));
  }

  /** `undefined`: there is nothing to be said. */
  async #answer(message: Buffer, from: { peer: Peer; overUdp: boolean }): Promise<Uint8Array | undefined> {
    const { metrics } = this.#parts;
    const { peer, overUdp } = from;
    const read = readQuestion(message);
    if (read.state === "ignored") {
      metrics.malformed("dns-malformed");
      return undefined;
    }
    if (this.#waiting >= MAX_WAITING || !this.#rate.take(peer.address, performance.now())) {
      metrics.limit("dns-flood");
      return undefined;
    }
    this.#waiting++;
    try {
      const connection = new Connection(this.#options.occupancy.number(), peer);
      const room = read.state === "question" ? (read.question.ednsSize ?? 0) : 0;
      const limit = overUdp ? Math.min(Math.max(room, UDP_OCTETS), QUESTION_MAX) : TCP_OCTETS;
      return await answerQuestion({ parts: this.#parts, responder: this.#options, connection, limit }, read);
    } finally {
      this.#waiting--;
    }
  }

  #failed(error: unknown): void {
    this.#parts.log.error("a question failed", { error: new ProxyFault("internal-error", error) });
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("drain", resolve);
    socket.once("close", () => resolve());
  });
}

function bindUdp(host: string, port: number): Promise<UdpSocket> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: host, port }, () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

const UNPRIVILEGED = 1_024;
const MAX_WAITING = 1_024;
/** RFC 1035 §2.3.4. */
const UDP_OCTETS = 512;
const TCP_OCTETS = 65_535;
