// The life of a CONNECT: judged by name, recorded, answered; then its ClientHello is read and judged, and TLS is ended here
// or, where a rule says so, passed on unread to an address that was judged.

import { TLSSocket } from "node:tls";
import type { Socket } from "node:net";
import type { Address } from "../net/address.ts";
import { type Authority, parseAuthority, sameAuthority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Reason } from "../net/reasons.ts";
import { parseRequestTarget } from "../net/request-target.ts";
import { decide } from "../policy/decide.ts";
import type { ConnectFacts } from "../policy/types.ts";
import { Connection } from "./connection.ts";
import { Course, type Refused } from "./course.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { alertFor, readHello } from "./hello.ts";
import { Ledger } from "./ledger.ts";
import type { Parts } from "./parts.ts";
import { Relay } from "./relay.ts";
import { findRoute, type Route } from "./route.ts";

/** Speaks HTTP on what was a tunnel's inside: the same path as any other connection. */
export type Serve = (connection: Connection, socket: ByteStream) => void;

export type TunnelOptions = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly down: DownstreamExchange;
  readonly serve: Serve;
};

export async function tunnel({ parts, connection, down, serve }: TunnelOptions): Promise<void> {
  const course = new Course({ parts, connection, down, kind: "connect" });
  try {
    const target = readTarget(down);
    if ("reason" in target) return await course.refuse({ stage: "connect", ...target });
    course.concerns({ target });
    const { who, published } = course;
    if (!who.ok) return await course.refuse({ ...who, stage: "connect" });
    const facts: ConnectFacts = { stage: "connect", policy: who.sandbox.policy, at: parts.now(), target };
    const verdict = decide(published.snapshot, facts);
    if (verdict.action === "deny") return await course.refuse({ ...verdict, stage: "connect" });

    const spliced = verdict.handling === "splice";
    const route = spliced
      ? await findRoute(parts, { published, sandbox: who.sandbox, scheme: "http", target })
      : undefined;
    if (route?.action === "deny") return await course.refuse({ ...route, stage: "address" });
    await course.allow(verdict, { facts, ...(route && { addresses: route.addresses }) });
    const socket = down.takeover({ status: 200, reason: "Connection Established", headers: [] });
    const inside = { course, target, socket };
    await (route === undefined ? intercept(inside, serve) : splice(inside, route));
  } catch (cause) {
    await course.fail(cause);
  }
}

/** A CONNECT names its target once: no body, and a Host that agrees where there is one. */
function readTarget(down: DownstreamExchange): Authority | Refused {
  const { head, host, length } = down.request;
  const asked = parseRequestTarget("CONNECT", head.target);
  if (asked?.form !== "authority") return { reason: "authority-malformed" };
  const target = asked.authority;
  if (length.kind !== "none") return { reason: "length-ambiguous", target };
  if (host === undefined) return target;
  const named = parseAuthority(host, target.port);
  if (named === undefined) return { reason: "authority-malformed", target };
  return sameAuthority(named, target) ? target : { reason: "host-mismatch", target };
}

type Inside = { readonly course: Course; readonly target: Authority; readonly socket: ByteStream };

async function splice(inside: Inside, { addresses }: Route): Promise<void> {
  const { course, target, socket } = inside;
  const judged = await judgeHello(inside);
  if (judged !== "splice") return;
  const { parts } = course;
  let dialed: { socket: Socket; address: Address };
  try {
    dialed = await course.published.upstream.dial(target, addresses);
  } catch (cause) {
    socket.destroy();
    throw cause;
  }
  const passage = new Relay({
    down: socket,
    up: dialed.socket,
    address: dialed.address,
    idleMs: parts.limits.tunnelIdleMs,
    onEnd: () => course.complete(undefined),
  });
  course.passing(200, passage);
}

async function intercept(inside: Inside, serve: Serve): Promise<void> {
  const { course, target, socket } = inside;
  const judged = await judgeHello(inside);
  if (judged !== "intercept") return;
  const { parts, connection } = course;
  const { id } = course.ledger;
  if (id === undefined) throw new ProxyFault("internal-error");
  const secureContext = parts.leaves.contextFor(target.host);
  const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ALPN });
  course.passing(200, { bytesUp: 0, bytesDown: 0, cut: () => secured.destroy() });
  secured.once("close", () => course.complete(undefined));
  const failed = await handshake(secured, parts.limits.handshakeMs);
  if (failed !== undefined) {
    parts.metrics.handshake("downstream", "failed");
    secured.destroy();
    await recordHandshake(course, failed);
    return;
  }
  parts.metrics.handshake("downstream", secured.isSessionReused() ? "resumed" : "full");
  const tunnel = { target, id, headers: course.down.request.head.headers };
  serve(new Connection(connection.id, connection.peer, tunnel), secured);
}

/** Reads the ClientHello and judges what it names; where it may not go on, that is recorded and the tunnel closed. */
async function judgeHello({ course, target, socket }: Inside): Promise<"intercept" | "splice" | undefined> {
  const { parts, connection } = course;
  const read = await readHello(socket, parts.limits.handshakeMs);
  let refused: Refused | undefined;
  let handling: "intercept" | "splice" | undefined;
  if (read.state === "complete") {
    const published = parts.published();
    const who = connection.identify(parts, published, course.down.request.head.headers);
    if (!who.ok) {
      refused = who;
    } else {
      const { sni } = read.hello;
      const facts = {
        stage: "client-hello",
        policy: who.sandbox.policy,
        at: parts.now(),
        target,
        sni,
      } as const;
      const verdict = decide(published.snapshot, facts);
      if (verdict.action === "deny") refused = verdict;
      else handling = verdict.handling;
    }
  } else if (read.state === "closed") {
    course.complete(undefined);
    return undefined;
  } else {
    refused = { reason: REFUSED_HELLO[read.state] };
  }
  if (refused === undefined) return handling;
  socket.write(alertFor(refused.reason, read.state));
  socket.destroySoon();
  await recordHandshake(course, refused);
  course.complete(refused.reason);
  return undefined;
}

/** `undefined` once it is done, else why it is not. */
function handshake(secured: TLSSocket, ms: number): Promise<Refused | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ reason: "handshake-failed" }), ms);
    const done = (refused?: Refused): void => {
      clearTimeout(timer);
      resolve(refused);
    };
    secured.once("secure", () => done());
    // Without a tls.Server behind it, a server's TLSSocket tells its errors by this event alone, also later ones.
    secured.on("_tlsError", () => {
      done({ reason: "handshake-failed" });
      secured.destroy();
    });
    secured.on("error", () => {});
    secured.once("close", () => done({ reason: "handshake-failed" }));
  });
}

/** The tunnel was allowed, what was then said in it was not: a record of its own. */
async function recordHandshake(course: Course, refused: Refused): Promise<void> {
  const { parts } = course;
  const ledger = new Ledger(parts, "tunnel");
  await ledger.decide(
    { ...course.subject, kind: "handshake", tunnel: course.ledger.id, scheme: "https" },
    {
      verdict: "deny",
      stage: "client-hello",
      reason: refused.reason,
      rule: refused.rule,
      preset: undefined,
      handling: undefined,
      wouldDeny: undefined,
      addresses: undefined,
    },
  );
  ledger.complete({ reason: refused.reason, bytesUp: 0, bytesDown: 0 });
}

const REFUSED_HELLO = {
  "not-tls": "not-tls",
  malformed: "client-hello-malformed",
  late: "handshake-failed",
} as const satisfies Record<string, Reason>;

/** ALPN's wire form (RFC 7301 §3.1). */
const ALPN = Buffer.from("\x08http/1.1", "latin1");
