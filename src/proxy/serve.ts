// The one accept path for bytes that should be HTTP: plain connections and the insides of tunnels alike.

import { ProxyFault } from "../net/fault.ts";
import type { ResponseHead } from "../net/message.ts";
import { isHttp2 } from "./alpn.ts";
import type { Connection } from "./connection.ts";
import type { ByteStream, DownstreamExchange, DownstreamHandler } from "./downstream.ts";
import { exchange } from "./exchange.ts";
import { Http1Server } from "./http1-server.ts";
import { Http2Server } from "./http2-server.ts";
import { Ledger } from "./ledger.ts";
import type { Drainable } from "./live.ts";
import type { Parts } from "./parts.ts";
import { refusal } from "./refuse.ts";
import { tunnel } from "./tunnel.ts";

/** `transport`: the TCP connection that `socket` is, or runs over. */
export function serve(parts: Parts, connection: Connection, socket: ByteStream, transport = socket): void {
  parts.live.open(new Served(parts, connection, socket, transport));
}

/** One object and next to no closures: there are as many as there are connections. */
class Served implements DownstreamHandler, Drainable {
  readonly #parts: Parts;
  readonly #connection: Connection;
  readonly #socket: ByteStream;
  readonly #transport: ByteStream;
  /** `undefined` once the connection was handed over: whoever has it ends it. */
  #server: Http1Server | Http2Server | undefined;
  readonly #failed: (error: unknown) => void;

  constructor(parts: Parts, connection: Connection, socket: ByteStream, transport: ByteStream) {
    this.#parts = parts;
    this.#connection = connection;
    this.#socket = socket;
    this.#transport = transport;
    this.#failed = unforeseen(parts, socket);
    const { limits } = parts;
    this.#server = isHttp2(socket)
      ? new Http2Server({ socket, limits, handler: this, extendedConnect: parts.http2 === "always" })
      : new Http1Server({ socket, transport, limits, handler: this });
  }

  onExchange(down: DownstreamExchange): void {
    const [parts, connection, transport] = [this.#parts, this.#connection, this.#transport];
    begin({ parts, connection, down, transport }).catch(this.#failed);
  }

  onMalformed(fault: ProxyFault, respond: (head: ResponseHead, body: Buffer) => void): void {
    malformed(this.#parts, this.#connection, { fault, respond }).catch(this.#failed);
  }

  onHandedOver(): void {
    this.#server = undefined;
    this.#socket.on("close", () => this.onClose());
  }

  onClose(): void {
    this.#parts.live.close(this);
  }

  drain(): void {
    this.#server?.drain();
  }

  retire(): void {
    this.#server?.retire();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

type Begun = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly down: DownstreamExchange;
  readonly transport: ByteStream;
};

function begin({ parts, connection, down, transport }: Begun): Promise<void> {
  const { tunnel: within, redirect } = connection;
  if (down.request.head.method !== "CONNECT" || within !== undefined || redirect !== undefined)
    return exchange(parts, connection, down);
  return tunnel({
    parts,
    connection,
    down,
    plain: false,
    serve: (inner, inside) => serve(parts, inner, inside, transport),
  });
}

/** Whatever one connection brings about, it ends no other. */
export function unforeseen(parts: Parts, socket: ByteStream): (error: unknown) => void {
  return (error) => {
    parts.log.error("a connection failed", { error: new ProxyFault("internal-error", error) });
    socket.destroy();
  };
}

type Malformed = {
  readonly fault: ProxyFault;
  readonly respond: (head: ResponseHead, body: Buffer) => void;
};

/** Octets that are no request have their record too. */
async function malformed(parts: Parts, connection: Connection, { fault, respond }: Malformed): Promise<void> {
  const ledger = new Ledger(parts, "request");
  let { reason } = fault;
  const target = connection.tunnel?.target;
  try {
    const published = parts.published();
    // Outside of a tunnel the credentials are among what could not be read.
    const told = target !== undefined || connection.redirect !== undefined;
    const who = !told ? undefined : connection.identify(parts, published, []);
    await ledger.decideAgainst(
      {
        ...connection.subject(published, who),
        kind: "malformed",
        host: target?.host,
        port: target?.port,
      },
      { reason },
    );
  } catch {
    reason = "audit-unavailable";
  }
  const { head, body } = refusal(
    { reason, auditId: ledger.id, method: undefined, url: undefined, shown: undefined },
    [],
  );
  respond(head, body);
  ledger.complete({ reason, status: head.status, bytesUp: 0, bytesDown: body.length });
}
