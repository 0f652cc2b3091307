// Hands the origin's answer to the sandbox: cleaned of what concerns this hop only, streamed, or switched to other bytes.

import { ProxyFault } from "../net/fault.ts";
import { first, type HeaderPairs } from "../net/headers.ts";
import type { UpstreamAnswer } from "../upstream/engine.ts";
import type { Course } from "./course.ts";
import { inward } from "./forward.ts";
import type { Parts } from "./parts.ts";
import { Relay } from "./relay.ts";

export function deliver(parts: Parts, course: Course, answer: UpstreamAnswer): void {
  const { status } = answer.head;
  // A challenge for proxy credentials is not the origin's to make; relayed, it would ask for the sandbox's.
  if (status === 407) throw new ProxyFault("upstream-malformed");
  course.ledger.answered();
  const head = inward(answer.head, parts.pseudonym);
  if (status === 101) return switchProtocols(course, answer, head.headers);
  course.answering(status);
  answer.body.pipe(course.down.respond(head, answer.declared));
}

function switchProtocols(course: Course, answer: UpstreamAnswer, headers: HeaderPairs): void {
  const upgrade = first(answer.head.headers, "upgrade") ?? "";
  const head = { ...answer.head, headers: [...headers, "Connection", "Upgrade", "Upgrade", upgrade] };
  const passage = new Relay({
    down: course.down.takeover(head),
    up: answer.takeover(),
    idleMs: course.parts.limits.tunnelIdleMs,
    onEnd: () => course.complete(undefined),
  });
  course.passing(101, passage);
}
