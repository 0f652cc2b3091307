// TLS to the proxy itself: the ClientHello names the proxy, a handshake that has a bound, and a client certificate that is
// verified before anything behind it is read. What fails is recorded.

import { performance } from "node:perf_hooks";
import type { TLSSocket } from "node:tls";
import type { Reason } from "../net/reasons.ts";
import type { Connection } from "./connection.ts";
import type { ByteStream } from "./downstream.ts";
import { alertFor, readHello } from "./hello.ts";
import { Ledger } from "./ledger.ts";
import { lingerAndClose } from "./linger.ts";
import type { ProxyTls } from "../tls/proxy-tls.ts";
import type { Parts } from "./parts.ts";
import { handshake, startTls } from "./tunnel-tls.ts";

type Door = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly socket: ByteStream;
  /** Reads on, inside. */
  readonly enter: (connection: Connection, secured: ByteStream) => void;
};

export async function tlsDoor(door: Door): Promise<void> {
  const { parts, connection, socket, enter } = door;
  const { tls } = parts.published();
  socket.setTimeout(0);
  const held = { drain: () => void socket.destroy(), destroy: () => void socket.destroy() };
  parts.live.open(held);
  try {
    if (tls === undefined) return await refuse(door, "tls-not-configured");
    const secured = await shakeHands(door, tls);
    if (secured === undefined) return;
    const certificate = tls.clientCertificates === "none" ? undefined : namesShown(secured);
    if (certificate === "refused") {
      secured.destroy();
      await record(door, "client-certificate-refused");
      return;
    }
    enter(connection.but({ certificate }), secured);
  } finally {
    parts.live.close(held);
  }
}

async function shakeHands(door: Door, tls: ProxyTls): Promise<TLSSocket | undefined> {
  const { parts, socket } = door;
  const until = performance.now() + parts.limits.handshakeMs;
  const read = await readHello(socket, until - performance.now());
  if (read.state === "closed") return void socket.destroy();
  if (read.state !== "complete")
    return refuse(door, read.state === "late" ? "handshake-failed" : "client-hello-malformed");
  const context = await tls.contextFor(read.hello.sni);
  if (context === undefined) return refuse(door, "proxy-name-unknown");
  const secured = startTls(socket, context, { certificates: tls.clientCertificates });
  const failed = await handshake(secured, until);
  if (failed === undefined) {
    parts.metrics.handshake("downstream", secured.isSessionReused() ? "resumed" : "full");
    return secured;
  }
  parts.metrics.handshake("downstream", "failed");
  secured.destroy();
  await record(door, failed.reason);
  return undefined;
}

/**
 * The names in the certificate that was shown, as `URI:…` and `DNS:…`; `undefined` where none was. Node lets every
 * certificate through the handshake and leaves it to ask what OpenSSL found.
 */
function namesShown(secured: TLSSocket): readonly string[] | "refused" | undefined {
  const shown = secured.getPeerX509Certificate();
  if (shown === undefined) return undefined;
  const { _handle: handle } = secured as unknown as Verifying;
  if (handle === null || handle.verifyError() !== null) return "refused";
  const text = shown.subjectAltName ?? "";
  // Names with a comma or a quote are quoted: what cannot be taken apart in one way names nobody.
  return text.includes('"') ? [] : text.split(", ");
}

type Verifying = { readonly _handle: { verifyError(): Error | null } | null };

async function refuse(door: Door, reason: Reason): Promise<undefined> {
  const { parts, socket } = door;
  const auditId = await record(door, reason);
  if (socket.destroyed) return;
  socket.write(alertFor({ reason, auditId, state: "complete" }));
  lingerAndClose(socket, parts.limits.handshakeMs);
}

async function record({ parts, connection }: Door, reason: Reason): Promise<string | undefined> {
  const ledger = new Ledger(parts, "request");
  const subject = { ...connection.subject(parts.published(), undefined), kind: "handshake" } as const;
  try {
    await ledger.decideAgainst(subject, { reason, stage: "client-hello" });
  } catch {
    // It is refused either way.
  }
  ledger.complete({ reason, bytesUp: 0, bytesDown: 0 });
  return ledger.id;
}
