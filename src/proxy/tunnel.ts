// The life of a CONNECT: judged by name, recorded, answered; then its ClientHello is read and judged, and TLS is ended here
// or, where a rule says so, passed on unread to an address that was judged. Of raw TCP nothing is awaited or read.

import { type Authority, formatAuthority, parseAuthority, sameAuthority } from "../net/authority.ts";
import { asFault, ProxyFault } from "../net/fault.ts";
import { parseRequestTarget } from "../net/request-target.ts";
import { decide } from "../policy/decide.ts";
import type { ConnectFacts } from "../policy/types.ts";
import { chooseAlpn } from "./alpn.ts";
import { seekBudget } from "./budget.ts";
import type { Connection } from "./connection.ts";
import { Course, type Refused } from "./course.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { alertFor } from "./hello.ts";
import { DEFAULT_PORTS } from "./inquiry.ts";
import { lingerAndClose } from "./linger.ts";
import type { Parts } from "./parts.ts";
import type { Passage } from "../upstream/parents.ts";
import { Relay } from "./relay.ts";
import { findRoute, type Route } from "./route.ts";
import { type Inside, judgeHello, recordHandshake, refuseHello } from "./tunnel-hello.ts";
import { handshake, leafFor, startTls } from "./tunnel-tls.ts";
import { judgeOwn } from "./welcome.ts";

/** Speaks HTTP on what was a tunnel's inside: the same path as any other connection. */
export type Serve = (connection: Connection, socket: ByteStream) => void;

export type TunnelOptions = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly down: DownstreamExchange;
  /** HTTP may be spoken in it as it is, not only in TLS. */
  readonly plain: boolean;
  readonly serve: Serve;
};

export async function tunnel({ parts, connection, down, plain, serve }: TunnelOptions): Promise<void> {
  const course = new Course({ parts, connection, down, kind: "connect" });
  let inside: Inside | undefined;
  try {
    const target = readTarget(down);
    if ("reason" in target) return await course.refuse({ stage: "connect", ...target });
    course.concerns({ target });
    const { who, published } = course;
    if (!who.ok) return await course.refuse({ ...who, stage: "connect" });
    const { policy, standing } = who.sandbox;
    const facts: ConnectFacts = { stage: "connect", policy, standing, at: parts.now(), target };
    const own = judgeOwn(target, undefined);
    const verdict = own ?? decide(published.snapshot, facts);
    if (verdict.action !== "allow") return await course.refuse({ ...verdict, stage: "connect" });

    const asks = { published, sandbox: who.sandbox, connection };
    const tcp = verdict.handling === "tcp";
    // What is read is counted request by request.
    const spent = verdict.handling !== "intercept" && (await seekBudget(course, target.host, undefined));
    if (spent) return await course.refuse({ ...spent, stage: "connect" });
    const route =
      verdict.handling === "intercept"
        ? undefined
        : await findRoute(parts, { ...asks, scheme: "http", target, reuse: false, by: "1.1", tcp });
    if (route?.action === "deny") return await course.refuse({ ...route, stage: "address" });
    await course.allow(verdict, own === undefined ? { facts, route } : {});
    if (tcp && route !== undefined) return await passTcp(course, target, route);
    const socket = down.takeover({ status: 200, reason: "Connection Established", headers: [] });
    course.passing(200, { bytesUp: 0, bytesDown: 0, cut: () => socket.destroy() });
    inside = { course, target, socket, plain, until: performance.now() + parts.limits.handshakeMs };
    await (route === undefined ? intercept(inside, serve) : splice(inside, route, serve));
  } catch (cause) {
    if (inside === undefined) await course.fail(cause);
    else abandon(inside, cause);
  }
}

/** After the 200 there is no HTTP to tell a failure in. */
function abandon({ course, socket }: Inside, cause: unknown): void {
  const fault = asFault(cause);
  if (fault.reason === "internal-error") course.parts.log.error("a tunnel failed", { error: fault });
  if (!socket.destroyed) {
    socket.write(alertFor({ reason: fault.reason, auditId: course.ledger.id, state: "complete" }));
    lingerAndClose(socket, course.parts.limits.handshakeMs);
  }
  course.complete(fault.reason);
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

/** Dialed before it is answered: the origin may be the one that speaks first. */
async function passTcp(course: Course, target: Authority, { addresses }: Route): Promise<void> {
  const dialed = await course.published.upstream.dial(target, addresses);
  let socket: ByteStream;
  try {
    course.stillWanted();
    socket = course.down.takeover({ status: 200, reason: "Connection Established", headers: [] });
  } catch (cause) {
    dialed.socket.destroy();
    throw cause;
  }
  relay(course, socket, dialed);
}

function relay(course: Course, down: ByteStream, { socket, address }: Passage): void {
  const passage = new Relay({
    down,
    up: socket,
    address,
    idleMs: course.parts.limits.tunnelIdleMs,
    meter: course.meter,
    onEnd: () => course.complete(undefined),
  });
  course.passing(200, passage);
}

/** HTTP in a tunnel whose bytes nobody encrypts: each request is judged as one that was sent without a tunnel. */
function serveHttp({ course, target, socket }: Inside, serve: Serve): void {
  socket.on("close", () => course.complete(undefined));
  serve(inner(course, target, "http"), socket);
  socket.resume();
}

function inner(course: Course, target: Authority, scheme: "http" | "https"): Connection {
  const { id } = course.ledger;
  if (id === undefined) throw new ProxyFault("internal-error");
  const named = formatAuthority(target, DEFAULT_PORTS[scheme]);
  return course.connection.inside({ target, named, id, scheme, headers: course.down.request.head.headers });
}

async function splice(inside: Inside, { addresses }: Route, serve: Serve): Promise<void> {
  const { course, target, socket } = inside;
  const judged = await judgeHello(inside);
  if (judged === undefined) return;
  if (judged === "http") {
    course.meter?.end();
    return serveHttp(inside, serve);
  }
  // A newer generation wants this read.
  if (judged !== "splice") return refuseHello(inside, { reason: "policy-changed" });
  relay(course, socket, await course.published.upstream.dial(target, addresses));
}

async function intercept(inside: Inside, serve: Serve): Promise<void> {
  const { course, target, socket, until } = inside;
  const judged = await judgeHello(inside);
  if (judged === undefined) return;
  if (judged === "http") return serveHttp(inside, serve);
  const { parts } = course;
  const within = inner(course, target, "https");
  const secureContext = await leafFor(course, target.host);
  // It may have gone while the leaf was minted elsewhere.
  if (socket.destroyed) return course.complete(undefined);
  if ("reason" in secureContext) return refuseHello(inside, secureContext);
  const secured = startTls(socket, secureContext, {
    protocol: chooseAlpn(parts.http2, inside.offered),
  });
  course.passing(200, { bytesUp: 0, bytesDown: 0, cut: () => secured.destroy() });
  const failed = await handshake(secured, until);
  if (failed !== undefined) {
    parts.metrics.handshake("downstream", "failed");
    course.complete(failed.reason);
    secured.destroy();
    await recordHandshake(course, failed);
    return;
  }
  secured.on("close", () => course.complete(undefined));
  parts.metrics.handshake("downstream", secured.isSessionReused() ? "resumed" : "full");
  serve(within, secured);
}
