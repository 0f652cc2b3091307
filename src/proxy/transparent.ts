// Takes connections that were led here past their sandbox's will: TLS goes where its server name says, as if a CONNECT had
// asked for it; HTTP goes where its Host says. Never goes by the address of a packet, and never writes before it was judged.

import type { Socket } from "node:net";
import { formatAuthority } from "../net/authority.ts";
import { helloRandom } from "../net/client-hello.ts";
import type { Host } from "../net/host.ts";
import type { Reason } from "../net/reasons.ts";
import type { Connection, Redirect } from "./connection.ts";
import { alertFor, type HelloRead, readHello } from "./hello.ts";
import { ignoreError } from "./ignore-error.ts";
import { Ledger } from "./ledger.ts";
import { lingerAndClose } from "./linger.ts";
import type { Parts } from "./parts.ts";
import { RedirectedTls } from "./redirected-tls.ts";
import { serve, unforeseen } from "./serve.ts";
import { TLS_HANDSHAKE } from "./sniff.ts";
import { REFUSED_HELLO } from "./tunnel-hello.ts";
import { tunnel } from "./tunnel.ts";

export type Accept = (parts: Parts, connection: Connection, socket: Socket) => void;

export function acceptRedirected({ port }: Redirect): Accept {
  // ClientHellos of open connections. One that is here already is our own splice, redirected back to us.
  const open = new Set<string>();
  return (parts, connection, socket) => {
    // 'close' follows every error and tells the rest.
    socket.on("error", ignoreError);
    let begun = false;
    const held = {
      drain: () => void (begun || socket.destroy()),
      destroy: () => void socket.destroy(),
    };
    const release = (): void => parts.live.close(held);
    parts.live.open(held);
    socket.once("close", release);
    const giveUp = (): void => void socket.destroy();
    socket.setTimeout(parts.limits.headMs, giveUp);
    socket.once("end", giveUp);
    socket.once("data", (octets) => {
      socket.pause();
      socket.off("end", giveUp);
      socket.setTimeout(0);
      socket.off("timeout", giveUp);
      socket.unshift(octets);
      if (octets[0] === TLS_HANDSHAKE) {
        begun = true;
        takeTls({ parts, connection, socket, port, open }).catch(unforeseen(parts, socket));
        return;
      }
      socket.off("close", release);
      release();
      // What is not HTTP either is refused there.
      serve(parts, connection, socket);
      socket.resume();
    });
  };
}

type Arrival = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly socket: Socket;
  readonly port: number;
  readonly open: Set<string>;
};

async function takeTls(arrival: Arrival): Promise<void> {
  const { parts, connection, socket, port, open } = arrival;
  const read = await readHello(socket, parts.limits.handshakeMs);
  // Its other half may still be open.
  if (read.state === "closed") return void socket.destroy();
  if (read.state !== "complete") return refuse(arrival, { reason: REFUSED_HELLO[read.state], read });
  const host = read.hello.sni;
  if (host === undefined) return refuse(arrival, { reason: "sni-missing", read });
  const random = helloRandom(read.octets);
  if (random === undefined || open.has(random))
    return refuse(arrival, { reason: "loop-detected", read, host });
  open.add(random);
  socket.once("close", () => open.delete(random));
  const down = new RedirectedTls({
    socket,
    target: formatAuthority({ host, port }),
    stallMs: parts.limits.handshakeMs,
  });
  await tunnel({
    parts,
    connection,
    down,
    plain: false,
    serve: (inner, inside) => serve(parts, inner, inside, socket),
  });
}

/** Nothing was asked for that a tunnel could be judged by: a record of its own, and an alert. */
async function refuse(
  { parts, connection, socket, port }: Arrival,
  refused: { readonly reason: Reason; readonly read: HelloRead; readonly host?: Host },
): Promise<void> {
  const ledger = new Ledger(parts, "tunnel");
  let { reason } = refused;
  try {
    const published = parts.published();
    const who = connection.identify(parts, published, []);
    await ledger.decideAgainst(
      { ...connection.subject(published, who), kind: "handshake", scheme: "https", host: refused.host, port },
      { reason, stage: "client-hello" },
    );
  } catch {
    reason = "audit-unavailable";
  }
  const alert = alertFor({ reason, auditId: ledger.id, state: refused.read.state });
  if (!socket.destroyed) socket.write(alert);
  lingerAndClose(socket, parts.limits.handshakeMs);
  ledger.complete({ reason, bytesUp: 0, bytesDown: alert.length });
}
