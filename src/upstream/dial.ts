// The one way out: connects to addresses that were judged already, and proves who answers before a byte of a request may
// leave. It never resolves a name (invariant 4) and never hands out an unverified TLS connection (invariant 6).

import type { X509Certificate } from "node:crypto";
import { connect as connectTcp } from "node:net";
import type { LookupFunction, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";

import { alpnList } from "../net/alpn.ts";
import type { Address } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import { isAddressLiteral } from "../net/host.ts";
import type { Host } from "../net/host.ts";
import { errorCode, upstreamFault } from "./faults.ts";
import type { Session, Sessions } from "./sessions.ts";
import { checkChain, checkOriginIdentity, isWeak, validUntil } from "./trust.ts";
import type { Trust } from "./trust.ts";

export type DialOptions = {
  /** Judged already; nothing else is connected to. */
  readonly addresses: readonly Address[];
  readonly port: number;
  /** For all addresses together. */
  readonly connectMs: number;
  readonly signal: AbortSignal;
};

export type Dialed = { readonly socket: Socket; readonly address: Address };

/** Happy Eyeballs (RFC 8305): families take turns, a new try starts every 250 ms or on a failure, the first to connect wins. */
export function dial({ addresses, port, connectMs, signal }: DialOptions): Promise<Dialed> {
  const waiting = interleave(addresses);
  const open = new Set<Socket>();
  const errors: unknown[] = [];
  let stagger: NodeJS.Timeout | undefined;
  const stop = () => {
    clearTimeout(stagger);
    for (const socket of open) socket.destroy();
  };
  return bounded<Dialed>({ ms: connectMs, signal, stop }, (done, fail) => {
    const next = () => {
      clearTimeout(stagger);
      const address = waiting.shift();
      if (address !== undefined) attempt(address);
      else if (open.size === 0) fail(upstreamFault(new AggregateError(errors)));
    };
    const attempt = (address: Address) => {
      const socket = connectTo(address, port);
      open.add(socket);
      const onError = (error: Error) => {
        open.delete(socket);
        errors.push(error);
        next();
      };
      socket.once("error", onError);
      socket.once("connect", () => {
        open.delete(socket);
        socket.off("error", onError);
        stop();
        done({ socket, address });
      });
      if (waiting.length > 0) stagger = setTimeout(next, STAGGER_MS);
    };
    next();
  });
}

export type SecureOptions = {
  /** A fresh connection to the origin, or a parent proxy's tunnel to it. Destroyed on failure. */
  readonly socket: Duplex;
  /** Whom the certificate must name; also the SNI, unless it is an address literal. */
  readonly host: Host;
  readonly port: number;
  readonly trust: Trust;
  readonly alpn: readonly string[];
  readonly sessions?: Sessions;
  readonly handshakeMs: number;
  readonly signal: AbortSignal;
};

/** TLS as the origin's verified client. Everything in the ClientHello is ours; nothing of the sandbox's is passed on. */
export function secure({ socket, host, port, trust, alpn, ...rest }: SecureOptions): Promise<TLSSocket> {
  const { sessions, handshakeMs, signal } = rest;
  if (signal.aborted || socket.destroyed) {
    socket.destroy();
    return Promise.reject(signal.aborted ? signal.reason : new ProxyFault("upstream-reset"));
  }
  const key = `${trust.generation} ${host} ${port}`;
  const session = sessions?.get(key);
  let shown: X509Certificate | undefined;
  let chain: readonly X509Certificate[] = [];
  const secured = connectTls({
    socket,
    secureContext: trust.context,
    rejectUnauthorized: true,
    minDHSize: 2048,
    ALPNProtocols: alpnList(alpn),
    // In full handshakes only: a resumed session has no certificate to show, and was kept for this very host.
    checkServerIdentity: () => {
      try {
        chain = chainOf(trust, shown);
        return checkPeer(trust, host, chain);
      } catch (error) {
        // Thrown here it would end the process.
        return new ProxyFault("certificate-invalid", error);
      }
    },
    ...(isAddressLiteral(host) ? {} : { servername: host }),
    ...(session === undefined ? {} : { session: session.ticket }),
  });
  const stop = () => {
    sessions?.drop(key);
    secured.destroy();
    socket.destroy();
  };
  return bounded<TLSSocket>({ ms: handshakeMs, signal, stop }, (done, fail) => {
    const onError = (error: Error) => fail(handshakeFault(error, () => chainOf(trust, shown)));
    const onClose = () => fail(new ProxyFault("upstream-reset"));
    secured.on("error", onError);
    secured.once("close", onClose);
    // Before Node judges the result and closes, while the chain can still be read. In its place Node would make an object of
    // the whole chain for `checkServerIdentity`, which costs a quarter of the handshake.
    secured.prependOnceListener("secure", () => (shown = secured.getPeerX509Certificate()));
    secured.getPeerCertificate = () => NOT_ASKED_FOR;
    const keep = keepVerified(secured, (kept) => sessions?.put(key, kept));
    secured.once("secureConnect", () => {
      // Node has verified: the chain or, of a resumed session, the result of the handshake that it stems from.
      if (!secured.authorized) return fail(new ProxyFault("certificate-untrusted"));
      // Ours has looked at the name and the chain.
      if (!secured.isSessionReused() && chain.length === 0)
        return fail(new ProxyFault("upstream-tls-failed"));
      secured.off("error", onError).off("close", onClose);
      keep(secured.isSessionReused() ? (session?.until ?? 0) : validUntil(trust, chain));
      return done(secured);
    });
  });
}

/** TLS 1.2 gives a session within the handshake, TLS 1.3 after it; none is kept before `keep` is called. */
function keepVerified(secured: TLSSocket, put: (session: Session) => void): (until: number) => void {
  let until: number | undefined;
  let early: Buffer | undefined;
  secured.on("session", (ticket) => {
    if (until === undefined) early = ticket;
    else put({ ticket, until });
  });
  return (end) => {
    until = end;
    if (early !== undefined) put({ ticket: early, until });
  };
}

function checkPeer(trust: Trust, host: Host, chain: readonly X509Certificate[]): ProxyFault | undefined {
  const [leaf] = chain;
  if (leaf === undefined) return new ProxyFault("certificate-invalid");
  return checkOriginIdentity(host, leaf) ?? checkChain(trust, chain, Date.now());
}

/** From the origin's certificate upwards to an anchor, in whatever order the rest was sent; empty where that is too much. */
function chainOf(trust: Trust, certificate: X509Certificate | undefined): readonly X509Certificate[] {
  const sent: X509Certificate[] = [];
  for (let one = certificate; one !== undefined; one = one.issuerCertificate)
    if (sent.push(one) > MAX_SENT) return [];
  const chain = sent.slice(0, 1);
  while (chain.length < MAX_CHAIN) {
    const last = chain.at(-1);
    if (last === undefined || last.checkIssued(last)) break;
    const among = [
      ...sent.filter((one) => !chain.includes(one) && last.checkIssued(one)),
      ...trust.issuersOf(last),
    ];
    // Of several that bear the name the one that signed: a twin must not stand in for one that is weak or revoked.
    const issuer = among.length > 1 ? among.find((one) => last.verify(one.publicKey)) : among[0];
    if (issuer === undefined) break;
    chain.push(issuer);
  }
  return chain;
}

function handshakeFault(error: Error, chain: () => readonly X509Certificate[]): ProxyFault {
  if (errorCode(error) === "UNSPECIFIED" && isWeak(chain())) return new ProxyFault("certificate-weak", error);
  return upstreamFault(error);
}

function connectTo(address: Address, port: number): Socket {
  return connectTcp({
    host: address,
    port,
    family: address.includes(":") ? 6 : 4,
    autoSelectFamily: false,
    lookup: neverLookup,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
}

/** Unreachable for a literal; if a name ever came here, it must fail rather than be resolved. */
const neverLookup: LookupFunction = (_name, _options, callback) => {
  callback(new ProxyFault("internal-error"), "");
};

/** Families alternate, beginning with the one that stands first; within a family the order is kept. */
function interleave(addresses: readonly Address[]): Address[] {
  const six = addresses.filter((address) => address.includes(":"));
  const four = addresses.filter((address) => !address.includes(":"));
  const [first, second] = addresses[0]?.includes(":") ? [six, four] : [four, six];
  return Array.from({ length: Math.max(first.length, second.length) }, (_, index) => [
    first[index],
    second[index],
  ])
    .flat()
    .filter((address) => address !== undefined);
}

type Bound = { readonly ms: number; readonly signal: AbortSignal; readonly stop: () => void };

/** Settles once. A failure, the deadline and the signal run `stop` first, so that nothing stays open. */
export function bounded<T>(
  { ms, signal, stop }: Bound,
  start: (done: (value: T) => void, fail: (error: unknown) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (act: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(deadline);
      signal.removeEventListener("abort", onAbort);
      act();
    };
    const fail = (error: unknown) =>
      settle(() => {
        stop();
        reject(error instanceof Error ? error : new ProxyFault("internal-error", error));
      });
    const onAbort = () => fail(signal.reason);
    const deadline = setTimeout(() => fail(new ProxyFault("upstream-timeout")), ms);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    else start((value) => settle(() => resolve(value)), fail);
  });
}

const STAGGER_MS = 250;
const KEEP_ALIVE_MS = 30_000;
const MAX_CHAIN = 10;
const MAX_SENT = 32;
const NOT_ASKED_FOR = {} as DetailedPeerCertificate;
