// Accepts sandboxes' connections, within bounds on their number, and records those it turns away.

import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { Connection } from "./connection.ts";
import { Ledger } from "./ledger.ts";
import type { Parts } from "./parts.ts";
import { refusal } from "./refuse.ts";
import { headText } from "./http1-responder.ts";
import { serve } from "./serve.ts";

export type Listener = {
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

  enter(
    source: string,
    limits: { readonly connections: number; readonly connectionsPerSource: number },
  ): boolean {
    const here = this.#bySource.get(source) ?? 0;
    if (this.#open >= limits.connections || here >= limits.connectionsPerSource) return false;
    this.#open++;
    this.#bySource.set(source, here + 1);
    return true;
  }

  leave(source: string): void {
    this.#open--;
    const here = (this.#bySource.get(source) ?? 1) - 1;
    if (here === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, here);
  }
}

export type ListenOptions = { readonly host: string; readonly port: number; readonly occupancy: Occupancy };

export async function listen(parts: Parts, { host, port, occupancy }: ListenOptions): Promise<Listener> {
  const turnedAway = new Set<Socket>();
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) => {
    const source = socket.remoteAddress ?? "unknown";
    const connection = new Connection(occupancy.number(), {
      address: source,
      port: socket.remotePort ?? 0,
    });
    parts.metrics.connectionOpen();
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    if (parts.live.draining || !occupancy.enter(source, parts.limits)) {
      socket.once("close", () => {
        turnedAway.delete(socket);
        parts.metrics.connectionClose("refused");
      });
      // A flood is not even told.
      if (turnedAway.size >= MAX_TURNED_AWAY) socket.resetAndDestroy();
      else turnedAway.add(socket);
      void turnAway(parts, connection, socket);
      return;
    }
    socket.once("close", () => {
      occupancy.leave(source);
      parts.metrics.connectionClose("completed");
    });
    serve(parts, connection, socket);
  });
  await bind(server, host, port);
  // Such as no more file descriptors: one connection is lost, not the proxy.
  server.on("error", (error) => parts.log.error("a connection could not be accepted", { error }));
  const bound = server.address() as AddressInfo;
  return {
    address: bound.address,
    port: bound.port,
    retire: () => void server.close(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function turnAway(parts: Parts, connection: Connection, socket: Socket): Promise<void> {
  socket.on("error", () => {});
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
