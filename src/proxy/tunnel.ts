// The life of a CONNECT: judged by name, recorded, answered; then its ClientHello is read and judged, and TLS is ended here
// or, where a rule says so, passed on unread to an address that was judged.

import { type Authority, parseAuthority, sameAuthority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import { parseRequestTarget } from "../net/request-target.ts";
import { decide } from "../policy/decide.ts";
import type { ConnectFacts } from "../policy/types.ts";
import type { Connection } from "./connection.ts";
import { Course, type Refused } from "./course.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { alertFor } from "./hello.ts";
import { lingerAndClose } from "./linger.ts";
import type { Parts } from "./parts.ts";
import { Relay } from "./relay.ts";
import { findRoute, type Route } from "./route.ts";
import { type Inside, judgeHello, recordHandshake, refuseHello } from "./tunnel-hello.ts";
import { handshake, leafFor, startTls } from "./tunnel-tls.ts";

/** Speaks HTTP on what was a tunnel's inside: the same path as any other connection. */
export type Serve = (connection: Connection, socket: ByteStream, transport: ByteStream) => void;

export type TunnelOptions = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly down: DownstreamExchange;
  readonly serve: Serve;
};

export async function tunnel({ parts, connection, down, serve }: TunnelOptions): Promise<void> {
  const course = new Course({ parts, connection, down, kind: "connect" });
  let inside: Inside | undefined;
  try {
    const target = readTarget(down);
    if ("reason" in target) return await course.refuse({ stage: "connect", ...target });
    course.concerns({ target });
    const { who, published } = course;
    if (!who.ok) return await course.refuse({ ...who, stage: "connect" });
    const facts: ConnectFacts = { stage: "connect", policy: who.sandbox.policy, at: parts.now(), target };
    const verdict = decide(published.snapshot, facts);
    if (verdict.action === "deny") return await course.refuse({ ...verdict, stage: "connect" });

    const asks = { published, sandbox: who.sandbox, peer: connection.peer };
    const spliced = verdict.handling === "splice";
    const route = spliced
      ? await findRoute(parts, { ...asks, scheme: "http", target, reuse: false })
      : undefined;
    if (route?.action === "deny") return await course.refuse({ ...route, stage: "address" });
    await course.allow(verdict, { facts, route });
    const socket = down.takeover({ status: 200, reason: "Connection Established", headers: [] });
    course.passing(200, { bytesUp: 0, bytesDown: 0, cut: () => socket.destroy() });
    inside = { course, target, socket, until: performance.now() + parts.limits.handshakeMs };
    await (route === undefined ? intercept(inside, serve) : splice(inside, route));
  } catch (cause) {
    if (inside === undefined) await course.fail(cause);
    else abandon(inside, cause);
  }
}

/** After the 200 there is no HTTP to tell a failure in. */
function abandon({ course, socket }: Inside, cause: unknown): void {
  const fault = cause instanceof ProxyFault ? cause : new ProxyFault("internal-error", cause);
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

async function splice(inside: Inside, { addresses }: Route): Promise<void> {
  const { course, target, socket } = inside;
  const judged = await judgeHello(inside);
  if (judged === undefined) return;
  const { parts } = course;
  // A newer generation wants this read.
  if (judged !== "splice") return refuseHello(inside, { reason: "policy-changed" });
  const dialed = await course.published.upstream.dial(target, addresses);
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
  const { course, target, socket, until } = inside;
  const judged = await judgeHello(inside);
  if (judged === undefined) return;
  const { parts, connection } = course;
  const { id } = course.ledger;
  if (id === undefined) throw new ProxyFault("internal-error");
  const secureContext = await leafFor(course, target.host);
  // It may have gone while the leaf was minted elsewhere.
  if (socket.destroyed) return course.complete(undefined);
  if ("reason" in secureContext) return refuseHello(inside, secureContext);
  const secured = startTls(socket, secureContext);
  course.passing(200, { bytesUp: 0, bytesDown: 0, cut: () => secured.destroy() });
  const failed = await handshake(secured, until);
  if (failed !== undefined) {
    parts.metrics.handshake("downstream", "failed");
    course.complete(failed.reason);
    secured.destroy();
    await recordHandshake(course, failed);
    return;
  }
  secured.once("close", () => course.complete(undefined));
  parts.metrics.handshake("downstream", secured.isSessionReused() ? "resumed" : "full");
  const tunnel = { target, id, headers: course.down.request.head.headers };
  serve(connection.inside(tunnel), secured, socket);
}
