// Accepts sandboxes' connections, within bounds on their number, and records those it turns away.

import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { Connection, type Peer, type Redirect } from "./connection.ts";
import { isBalancer, readSource } from "./balancer.ts";
import { ignoreError } from "./ignore-error.ts";
import { Ledger } from "./ledger.ts";
import type { Parts } from "./parts.ts";
import { refusal } from "./refuse.ts";
import { headText } from "./http1-responder.ts";
import { unforeseen } from "./serve.ts";
import { sniff } from "./sniff.ts";
import { bindUnix, type UnixSocket } from "./unix-socket.ts";
import { type Accept, acceptRedirected } from "./transparent.ts";

export type Listener = {
  /** A Unix socket's is its path, and its port 0. */
  readonly address: string;
  readonly port: number;
  /** Accepts nothing more; what is open goes on. */
  retire(): void;
  /** Accepts nothing more and ends what is open. */
  close(): Promise<void>;
};

/** Open connections, in all and by source address: shared by all listeners. */
export class Occupancy {
  readonly #bySource = new Map<string, number>();
  #open = 0;
  readonly #prefix: string;
  #numbered = 0;

  /** `prefix`: tells numbers of one process from another's. */
  constructor(prefix = "") {
    this.#prefix = prefix;
  }

  /** Of a connection, whichever listener accepted it. */
  number(): string {
    return `${this.#prefix}${++this.#numbered}`;
  }

  /** `undefined`: whose it is, its balancer has yet to say. */
  enter(
    source: string | undefined,
    limits: { readonly connections: number; readonly connectionsPerSource: number },
  ): boolean {
    if (this.#open >= limits.connections) return false;
    if (source !== undefined) {
      const here = this.#bySource.get(source) ?? 0;
      if (here >= limits.connectionsPerSource) return false;
      this.#bySource.set(source, here + 1);
    }
    this.#open++;
    return true;
  }

  leave(source: string | undefined): void {
    this.#open--;
    if (source === undefined) return;
    const here = (this.#bySource.get(source) ?? 1) - 1;
    if (here === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, here);
  }
}

export type ListenOptions = {
  /** A Unix socket's is its path, with the mode that it is given. */
  readonly at: { readonly host: string; readonly port: number } | UnixSocket;
  readonly occupancy: Occupancy;
  /** Id of the sandbox whose connections these are alone. */
  readonly sandbox?: string | undefined;
  /** Connections arrive here that were meant for others. */
  readonly redirect?: Redirect;
};

export async function listen(parts: Parts, options: ListenOptions): Promise<Listener> {
  const { at, occupancy, sandbox, redirect } = options;
  const accepting = new Accepting(
    parts,
    occupancy,
    redirect === undefined ? sniff : acceptRedirected(redirect),
  );
  const open = new Set<Socket>();
  const unix = "path" in at ? `unix:${at.path}` : undefined;
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) => {
    const peer = { address: unix ?? socket.remoteAddress ?? "unknown", port: socket.remotePort ?? 0 };
    const connection = new Connection(occupancy.number(), peer, { listener: sandbox, redirect });
    parts.metrics.connectionOpen();
    open.add(socket);
    // It comes once by itself, and what `once` wraps its listener in would be kept for each connection.
    socket.on("close", () => open.delete(socket));
    if (isBalancer(parts, peer)) accepting.acceptBehind(connection, socket).catch(unforeseen(parts, socket));
    else accepting.accept(connection, socket);
  });
  await ("path" in at ? bindUnix(server, at) : bind(server, at.host, at.port));
  // Such as no more file descriptors: one connection is lost, not the proxy.
  server.on("error", (error) => parts.log.error("a connection could not be accepted", { error }));
  const bound = server.address() as AddressInfo | string;
  return {
    ...(typeof bound === "string"
      ? { address: bound, port: 0 }
      : { address: bound.address, port: bound.port }),
    retire: () => void server.close(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** Lets in what there is room for, and turns away the rest. */
class Accepting {
  readonly #parts: Parts;
  readonly #occupancy: Occupancy;
  readonly #take: Accept;
  readonly #turnedAway = new Set<Socket>();

  constructor(parts: Parts, occupancy: Occupancy, take: Accept) {
    this.#parts = parts;
    this.#occupancy = occupancy;
    this.#take = take;
  }

  accept(connection: Connection, socket: Socket): void {
    const source = connection.peer.address;
    if (!this.#enter(source)) return this.#refuse(connection, socket);
    socket.on("close", () => {
      this.#occupancy.leave(source);
      this.#parts.metrics.connectionClose("completed");
    });
    this.#take(this.#parts, connection, socket);
  }

  /** The balancer's header says whose connection it is; until then it takes one place of all, and nobody's share. */
  async acceptBehind(connection: Connection, socket: Socket): Promise<void> {
    if (!this.#enter(undefined)) return this.#refuse(connection, socket);
    socket.on("error", ignoreError);
    let source: Peer | undefined;
    try {
      source = await readSource(this.#parts, connection, socket);
    } finally {
      this.#occupancy.leave(undefined);
    }
    if (source === undefined || socket.destroyed) return this.#parts.metrics.connectionClose("refused");
    this.accept(connection.but({ peer: source }), socket);
    socket.resume();
  }

  #enter(source: string | undefined): boolean {
    return !this.#parts.live.draining && this.#occupancy.enter(source, this.#parts.limits);
  }

  #refuse(connection: Connection, socket: Socket): void {
    const closed = (): void => {
      this.#turnedAway.delete(socket);
      this.#parts.metrics.connectionClose("refused");
    };
    socket.once("close", closed);
    // A flood is not even told.
    if (this.#turnedAway.size >= MAX_TURNED_AWAY) socket.resetAndDestroy();
    else this.#turnedAway.add(socket);
    void turnAway(this.#parts, connection, socket);
  }
}

export function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function turnAway(parts: Parts, connection: Connection, socket: Socket): Promise<void> {
  socket.on("error", ignoreError);
  const timer = setTimeout(() => socket.destroy(), TURN_AWAY_MS);
  socket.once("close", () => clearTimeout(timer));
  // What it has sent is read away: a reset would hide the answer.
  socket.resume();
  const reason = parts.live.draining ? "draining" : "too-many-connections";
  const ledger = new Ledger(parts, "request");
  try {
    await ledger.decideAgainst(
      { ...connection.subject(parts.published(), undefined), kind: "connection" },
      { reason },
    );
  } catch {
    // Nothing is forwarded either way.
  }
  const { head, body } = refusal(
    { reason, auditId: ledger.id, method: undefined, url: undefined, shown: undefined },
    [],
  );
  socket.end(
    Buffer.concat([
      Buffer.from(headText(head, ["Content-Length", String(body.length), "Connection", "close"]), "latin1"),
      body,
    ]),
  );
  ledger.complete({ reason, status: head.status, bytesUp: 0, bytesDown: body.length });
}

const MAX_TURNED_AWAY = 256;
const TURN_AWAY_MS = 1000;
