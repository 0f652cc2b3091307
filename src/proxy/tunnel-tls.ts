// TLS with the sandbox, ended here: the leaf for the tunnel's host, and a handshake that has a bound.

import { performance } from "node:perf_hooks";
import { type SecureContext, TLSSocket } from "node:tls";
import { alpnList } from "../net/alpn.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { shareOf } from "./connection.ts";
import type { Protocol } from "./alpn.ts";
import type { Course, Refused } from "./course.ts";
import type { ByteStream } from "./downstream.ts";
import { ignoreError } from "./ignore-error.ts";

export async function leafFor(
  { parts, who, connection }: Course,
  host: Host,
): Promise<SecureContext | Refused> {
  const asker = who.ok ? shareOf(who.sandbox, connection.peer) : connection.peer.address;
  try {
    return await parts.leaves.contextFor(host, asker);
  } catch (cause) {
    if (cause instanceof ProxyFault && cause.reason === "mint-limit") return { reason: cause.reason };
    throw cause;
  }
}

export type TlsChoices = {
  readonly protocol?: Protocol;
  /** Of the sandbox; that one was shown does not say that it is any good. */
  readonly certificates?: "none" | "optional" | "required";
};

export function startTls(
  socket: ByteStream,
  secureContext: SecureContext,
  { protocol = "http/1.1", certificates = "none" }: TlsChoices = {},
): TLSSocket {
  const options = { isServer: true, secureContext, ALPNProtocols: ALPN[protocol] };
  if (certificates === "none") return new TLSSocket(socket, options);
  return new TLSSocket(socket, {
    ...options,
    requestCert: true,
    ...(certificates === "required" && { rejectUnauthorized: true }),
  });
}

/** `undefined` once it is done, else why it is not. */
export function handshake(secured: TLSSocket, until: number): Promise<Refused | undefined> {
  return new Promise((resolve) => {
    const done = (refused?: Refused): void => {
      clearTimeout(timer);
      // Most connections lie idle from here on: nothing of this stays with them.
      secured.off("secure", secure).off("_tlsError", failed).off("end", failed).off("close", failed);
      resolve(refused);
    };
    const secure = (): void => done();
    const failed = (): void => done({ reason: "handshake-failed" });
    const timer = setTimeout(() => resolve({ reason: "handshake-failed" }), until - performance.now());
    secured.on("secure", secure);
    // Without a tls.Server behind it, a server's TLSSocket tells its errors by this event alone, also later ones.
    secured.on("_tlsError", failed).on("_tlsError", destroy);
    secured.on("error", ignoreError);
    // It may end and stay half open.
    secured.on("end", failed).on("close", failed);
  });
}

function destroy(this: TLSSocket): void {
  this.destroy();
}

const ALPN: Readonly<Record<Protocol, DataView>> = {
  "http/1.1": alpnList(["http/1.1"]),
  h2: alpnList(["h2"]),
};
