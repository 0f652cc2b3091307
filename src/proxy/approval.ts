// What becomes of a miss that somebody may lift: the request waits, within a bound, for their decision, or is refused with
// a reference to it. Whatever is answered, the newest policy judges again, and nothing but the miss is lifted.

import { hash } from "node:crypto";
import { ProxyFault } from "../net/fault.ts";
import type { Reason } from "../net/reasons.ts";
import type { CompiledPolicy } from "../policy/compile.ts";
import { decide } from "../policy/decide.ts";
import type { Allow, Ask, RuleRef, Verdict } from "../policy/types.ts";
import type { Answer, Asking } from "../registry/asking.ts";
import type { Course, Refused } from "./course.ts";
import { type Inquiry, requestFacts } from "./inquiry.ts";
import type { Underway } from "./live.ts";
import type { Published } from "./parts.ts";

/** The allowance, borne out by the newest policy; or why not. */
export async function seekApproval(
  course: Course,
  inquiry: Inquiry,
  first: Ask,
): Promise<Allow | (Refused & { readonly action: "deny" })> {
  const { parts } = course;
  const until = performance.now() + parts.limits.approvalMs;
  for (let ask = first; ;) {
    const { sandbox } = course.bearing;
    const waiting = new Waiting(course, (published) => judge(course, inquiry, published));
    const waitMs = ask.wait ? Math.max(0, until - performance.now()) : 0;
    const answer = await waiting.during(askingOf(course, inquiry, { ask, waitMs }));
    // Nobody is there to be answered, and nothing was sent.
    if (course.ended) throw new ProxyFault("approval-required");
    course.stillWanted();
    course.bearing.renew();
    const { who } = course;
    if (!who.ok) return { action: "deny", ...who };
    const newest = judge(course, inquiry, course.published);
    if (newest.action !== "ask") return newest;
    const same = who.sandbox.id === sandbox.id && who.sandbox.policy === sandbox.policy;
    if (same && answer.outcome === "allowed") return lifted(answer);
    // Under another policy than was asked about, another question.
    if (waiting.moved && performance.now() < until) ask = newest;
    else return refusedFor(answer, newest, course.published.snapshot.policies.get(sandbox.policy));
  }
}

function judge(course: Course, inquiry: Inquiry, published: Published): Verdict {
  const { parts, down } = course;
  const who = course.bearing.identify(published);
  // Asked again where it is told why.
  if (!who.ok) return { action: "deny", reason: who.reason, rule: undefined, shown: undefined };
  return decide(published.snapshot, requestFacts(inquiry, down.request, who.sandbox, parts.now()));
}

function askingOf(
  { bearing: { sandbox }, connection }: Course,
  { method, scheme, target, path }: Inquiry,
  { ask, waitMs }: { readonly ask: Ask; readonly waitMs: number },
): Asking {
  return {
    sandbox: sandbox.id,
    address: connection.peer.address,
    policy: sandbox.policy,
    method,
    scheme,
    host: target.host,
    port: target.port,
    path: path.sent,
    query: path.query === "" ? "" : hash("sha256", path.query, "base64url"),
    reason: ask.reason,
    waitMs,
  };
}

function lifted({ id, by, because }: Extract<Answer, { outcome: "allowed" }>): Allow {
  const rule: RuleRef = { id: `${PREFIX}${id}`, source: by, reason: because };
  return { action: "allow", rule, preset: undefined, handling: "intercept", wouldDeny: undefined };
}

function refusedFor(
  answer: Answer,
  { reason, rule, shown }: Ask,
  compiled: CompiledPolicy | undefined,
): Refused & { readonly action: "deny" } {
  switch (answer.outcome) {
    case "denied":
      return {
        action: "deny",
        reason: "approval-denied",
        rule: { id: `${PREFIX}${answer.id}`, source: "approvals", reason: answer.because },
        shown: compiled?.policy.showRule === true ? answer.because : undefined,
        approval: answer.id,
      };
    // Decided for what it was, which it no longer is.
    case "allowed":
    case "pending":
      return { action: "deny", reason: "approval-required", rule, shown, approval: answer.id };
    case "unasked":
      return { action: "deny", reason, rule, shown };
  }
}

/** Whether what was allowed was a miss that somebody lifted for this one request. */
export function wasLifted(rule: RuleRef): boolean {
  return rule.id.startsWith(PREFIX);
}

/** A request that is held: a new generation that judges it otherwise, a stop, or its sandbox's going end the wait. */
class Waiting implements Underway {
  readonly #course: Course;
  readonly #judge: (published: Published) => Verdict;
  readonly #policy: string;
  readonly sandbox: string | undefined;
  readonly #over = new AbortController();
  /** What it waited for is not what it would be asked for now. */
  moved = false;

  constructor(course: Course, judge: (published: Published) => Verdict) {
    this.#course = course;
    this.#judge = judge;
    this.sandbox = course.sandbox;
    this.#policy = course.bearing.sandbox.policy;
  }

  async during(asking: Asking): Promise<Answer> {
    const { parts } = this.#course;
    const began = performance.now();
    this.#course.onEnded = () => this.#over.abort();
    if (this.#course.ended) this.#over.abort();
    parts.live.begin(this);
    try {
      return await parts.approvals.ask(asking, this.#over.signal);
    } finally {
      parts.live.end(this);
      this.#course.onEnded = undefined;
      if (asking.waitMs > 0) parts.metrics.approvalWait(performance.now() - began);
    }
  }

  rejudge(published: Published): Reason | undefined {
    const verdict = this.#judge(published);
    const who = this.#course.bearing.identify(published);
    if (verdict.action === "ask" && who.ok && who.sandbox.policy === this.#policy) return undefined;
    return "policy-changed";
  }

  cut(): void {
    this.moved = true;
    this.#over.abort();
  }

  /** Nobody is kept waiting by a proxy that stops. */
  drain(): void {
    this.#over.abort();
  }
}

const PREFIX = "approval:";
