// What a tunnel's first octets may be: a ClientHello that names the tunnel's own host. What may not go on is recorded on
// its own and told in the way its sender understands.

import { performance } from "node:perf_hooks";
import type { Authority } from "../net/authority.ts";
import type { Reason } from "../net/reasons.ts";
import { decide } from "../policy/decide.ts";
import type { Course, Refused } from "./course.ts";
import type { ByteStream } from "./downstream.ts";
import { alertFor, type HelloRead, readHello } from "./hello.ts";
import { Ledger } from "./ledger.ts";
import { lingerAndClose } from "./linger.ts";
import { judgeOwn } from "./welcome.ts";

export type Inside = {
  readonly course: Course;
  readonly target: Authority;
  readonly socket: ByteStream;
  /** HTTP may be spoken as it is, too. */
  readonly plain: boolean;
  /** When the ClientHello and the handshake must be done, by performance.now(). */
  readonly until: number;
  /** Protocols that the ClientHello offers, once it is read. */
  offered?: readonly string[];
};

/** Reads the ClientHello and judges what it names; where it may not go on, that is recorded and the tunnel closed. */
export async function judgeHello(inside: Inside): Promise<"intercept" | "splice" | "http" | undefined> {
  const { course, target, socket, plain, until } = inside;
  const { parts, connection } = course;
  const read = await readHello(socket, until - performance.now());
  let refused: Refused | undefined;
  let handling: "intercept" | "splice" | undefined;
  if (read.state === "complete") {
    inside.offered = read.hello.alpn;
    const published = parts.published();
    const who = connection.identify(parts, published, course.down.request.head.headers);
    if (!who.ok) {
      refused = who;
    } else {
      const { sni } = read.hello;
      const facts = {
        stage: "client-hello",
        policy: who.sandbox.policy,
        standing: who.sandbox.standing,
        at: parts.now(),
        target,
        sni,
      } as const;
      const verdict = judgeOwn(target, sni) ?? decide(published.snapshot, facts);
      if (verdict.action !== "allow") refused = verdict;
      else handling = verdict.handling === "splice" ? "splice" : "intercept";
    }
  } else if (read.state === "not-tls" && plain && isLetter(read.octet)) {
    return "http";
  } else if (read.state === "closed") {
    // Its other half may still be open.
    socket.destroy();
    course.complete(undefined);
    return undefined;
  } else {
    refused = {
      reason: plain && read.state === "not-tls" ? "protocol-not-allowed" : REFUSED_HELLO[read.state],
    };
  }
  if (refused === undefined) return handling;
  await refuseHello(inside, refused, read.state);
  return undefined;
}

export async function refuseHello(
  { course, socket }: Inside,
  refused: Refused,
  state: HelloRead["state"] = "complete",
): Promise<void> {
  const auditId = await recordHandshake(course, refused);
  socket.write(alertFor({ reason: refused.reason, auditId, state }));
  lingerAndClose(socket, course.parts.limits.handshakeMs);
  course.complete(refused.reason);
}

/** The tunnel was allowed, what was then said in it was not: a record of its own, whose id this gives. */
export async function recordHandshake(course: Course, refused: Refused): Promise<string | undefined> {
  const { parts } = course;
  const ledger = new Ledger(parts, "tunnel");
  try {
    await ledger.decideAgainst(
      { ...course.subject, kind: "handshake", tunnel: course.ledger.id, scheme: "https" },
      { ...refused, stage: "client-hello" },
    );
  } finally {
    ledger.complete({ reason: refused.reason, bytesUp: 0, bytesDown: 0 });
  }
  return ledger.id;
}

/** As every HTTP method that anybody uses begins. */
function isLetter(octet: number): boolean {
  return (octet | 0x20) >= 0x61 && (octet | 0x20) <= 0x7a;
}

export const REFUSED_HELLO = {
  "not-tls": "not-tls",
  malformed: "client-hello-malformed",
  late: "handshake-failed",
} as const satisfies Record<string, Reason>;
