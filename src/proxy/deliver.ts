// Hands the origin's answer to the sandbox: cleaned of what concerns this hop only, streamed, or switched to other bytes.

import { ProxyFault } from "../net/fault.ts";
import { first, type HeaderPairs } from "../net/headers.ts";
import type { ResponseHead } from "../net/message.ts";
import type { UpstreamAnswer } from "../upstream/engine.ts";
import { octetsOfAnswer } from "./budget.ts";
import type { Course } from "./course.ts";
import { maskedTrailers } from "./inject.ts";
import { Relay } from "./relay.ts";

/** Done once the answer is under way; its end completes the exchange. */
export function deliver(course: Course, answer: UpstreamAnswer): void | Promise<void> {
  // A challenge for proxy credentials is not the origin's to make; relayed, it would ask for the sandbox's.
  if (answer.head.status === 407) throw new ProxyFault("upstream-malformed");
  course.ledger.answered();
  const head = course.bearing.inward(answer.head);
  if (course.meter === undefined) return handOver(course, answer, head);
  return course.meter.answer(octetsOfAnswer(head)).then(() => {
    course.stillWanted();
    handOver(course, answer, head);
  });
}

function handOver(course: Course, answer: UpstreamAnswer, head: ResponseHead): void {
  const { status } = head;
  if (status === 101) return switchProtocols(course, answer, head.headers);
  course.answering(status);
  const { meter, bearing } = course;
  const { injections } = bearing;
  const body = injections === undefined ? answer.body : maskedTrailers(answer.body, injections);
  course.down.respond(head, answer.declared, (sink) => body.pipe(meter?.down.sink(sink) ?? sink));
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
