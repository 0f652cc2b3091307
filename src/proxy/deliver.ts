// Hands the origin's answer to the sandbox: cleaned of what concerns this hop only, streamed, or switched to other bytes.

import { ProxyFault } from "../net/fault.ts";
import { first, type HeaderPairs } from "../net/headers.ts";
import type { UpstreamAnswer } from "../upstream/engine.ts";
import { octetsOfAnswer } from "./budget.ts";
import type { Course } from "./course.ts";
import { maskedTrailers } from "./inject.ts";
import { Relay } from "./relay.ts";

export async function deliver(course: Course, answer: UpstreamAnswer): Promise<void> {
  const { status } = answer.head;
  // A challenge for proxy credentials is not the origin's to make; relayed, it would ask for the sandbox's.
  if (status === 407) throw new ProxyFault("upstream-malformed");
  course.ledger.answered();
  const { injections } = course.bearing;
  const head = course.bearing.inward(answer.head);
  const { meter } = course;
  if (meter !== undefined) {
    await meter.answer(octetsOfAnswer(head));
    course.stillWanted();
  }
  if (status === 101) return switchProtocols(course, answer, head.headers);
  course.answering(status);
  const body = injections === undefined ? answer.body : maskedTrailers(answer.body, injections);
  const sink = course.down.respond(head, answer.declared);
  body.pipe(meter?.down.sink(sink) ?? sink);
}

function switchProtocols(course: Course, answer: UpstreamAnswer, headers: HeaderPairs): void {
  const upgrade = first(answer.head.headers, "upgrade") ?? "";
  const head = { ...answer.head, headers: [...headers, "Connection", "Upgrade", "Upgrade", upgrade] };
  const passage = new Relay({
    down: course.down.takeover(head),
    up: answer.takeover(),
    idleMs: course.parts.limits.tunnelIdleMs,
    meter: course.meter,
    onEnd: () => course.complete(undefined),
  });
  course.passing(101, passage);
}
