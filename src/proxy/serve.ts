// The one accept path for bytes that should be HTTP: plain connections and the insides of tunnels alike.

import { ProxyFault } from "../net/fault.ts";
import type { ResponseHead } from "../net/message.ts";
import type { Connection } from "./connection.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { exchange } from "./exchange.ts";
import { Http1Server } from "./http1-server.ts";
import { Ledger } from "./ledger.ts";
import type { Parts } from "./parts.ts";
import { refusal } from "./refuse.ts";
import { tunnel } from "./tunnel.ts";

/** `transport`: the TCP connection that `socket` is, or runs over. */
export function serve(parts: Parts, connection: Connection, socket: ByteStream, transport = socket): void {
  // Whatever one connection brings about, it ends no other.
  const unforeseen = (error: unknown): void => {
    parts.log.error("a connection failed", { error: new ProxyFault("internal-error", error) });
    socket.destroy();
  };
  const server = new Http1Server({
    socket,
    transport,
    limits: parts.limits,
    handler: {
      onExchange: (down) => void begin(parts, connection, down).catch(unforeseen),
      onMalformed: (fault, respond) =>
        void malformed(parts, connection, { fault, respond }).catch(unforeseen),
      onClose: () => parts.live.close(held),
    },
  });
  const held = {
    drain: () => server.drain(),
    retire: () => server.retire(),
    destroy: () => void socket.destroy(),
  };
  parts.live.open(held);
}

function begin(parts: Parts, connection: Connection, down: DownstreamExchange): Promise<void> {
  if (down.request.head.method === "CONNECT" && connection.tunnel === undefined) {
    return tunnel({ parts, connection, down, serve: (...inside) => serve(parts, ...inside) });
  }
  return exchange(parts, connection, down);
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
    const who = target === undefined ? undefined : connection.identify(parts, published, []);
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
