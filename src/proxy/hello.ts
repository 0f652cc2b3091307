// Waits for a ClientHello and leaves the connection as if nobody had read it; says no in the way its sender understands.

import { readClientHello, type ClientHello, type ClientHelloRead } from "../net/client-hello.ts";
import { REASONS, type Reason, type ReasonKind } from "../net/reasons.ts";
import type { ByteStream } from "./downstream.ts";
import { refusal } from "./refuse.ts";
import { headText } from "./http1-responder.ts";

export type HelloRead =
  | {
      readonly state: "complete";
      readonly hello: ClientHello;
      /** All that was read so far. */
      readonly octets: Buffer;
    }
  /** `octet`: the first; it is there to be read again, with what came behind it. */
  | { readonly state: "not-tls"; readonly octet: number }
  | { readonly state: "malformed" | "late" | "closed" };

type Ended =
  | Extract<ClientHelloRead, { readonly state: "complete" }>
  | Exclude<HelloRead, { readonly state: "complete" }>;

export function readHello(socket: ByteStream, ms: number): Promise<HelloRead> {
  return new Promise((resolve) => {
    let held = Buffer.allocUnsafe(2048);
    let length = 0;
    const timer = setTimeout(() => finish({ state: "late" }), ms);
    const finish = (read: Ended): void => {
      clearTimeout(timer);
      socket.off("data", onData);
      socket.off("close", onClose);
      socket.off("end", onClose);
      socket.pause();
      const octets = held.subarray(0, length);
      if (read.state === "complete" || read.state === "not-tls") socket.unshift(octets);
      resolve(read.state === "complete" ? { ...read, octets } : read);
    };
    const onClose = (): void => finish({ state: "closed" });
    const onData = (chunk: Buffer): void => {
      if (length + chunk.length > held.length) {
        const grown = Buffer.allocUnsafe((length + chunk.length) * 2);
        held.copy(grown, 0, 0, length);
        held = grown;
      }
      chunk.copy(held, length);
      length += chunk.length;
      const read = readClientHello(held.subarray(0, length), MAX_HELLO);
      if (read.state === "not-tls") finish({ ...read, octet: held[0]! });
      else if (read.state !== "incomplete") finish(read);
    };
    if (socket.destroyed || socket.readableEnded) return onClose();
    socket.on("data", onData);
    socket.once("close", onClose);
    socket.once("end", onClose);
    socket.resume();
  });
}

/** What a refused opening is answered with: a TLS alert, or HTTP to who seems to speak that. */
export function alertFor(refused: {
  readonly reason: Reason;
  readonly auditId: string | undefined;
  readonly state: HelloRead["state"];
}): Buffer {
  const { reason, auditId, state } = refused;
  if (state === "not-tls") {
    const { head, body } = refusal(
      { reason, auditId, method: undefined, url: undefined, shown: undefined },
      [],
    );
    const framing = ["Content-Length", String(body.length), "Connection", "close"];
    return Buffer.concat([Buffer.from(headText(head, framing), "latin1"), body]);
  }
  return Buffer.from([
    0x15,
    0x03,
    0x01,
    0x00,
    0x02,
    FATAL,
    ALERTS[reason] ?? DEFAULT_ALERTS[REASONS[reason].kind],
  ]);
}

/** RFC 8446 §6.2. */
const FATAL = 2;
const ACCESS_DENIED = 49;
const INTERNAL_ERROR = 80;
const ALERTS: Partial<Record<Reason, number>> = {
  "sni-mismatch": 112,
  // RFC 8446 §9.2.
  "sni-missing": 109,
  "proxy-name-unknown": 112,
  "client-hello-malformed": 50,
  "handshake-failed": 40,
};
const DEFAULT_ALERTS = {
  deny: ACCESS_DENIED,
  auth: ACCESS_DENIED,
  malformed: ACCESS_DENIED,
  limit: INTERNAL_ERROR,
  fault: INTERNAL_ERROR,
} as const satisfies Record<ReasonKind, number>;
const MAX_HELLO = 16 * 1024;
