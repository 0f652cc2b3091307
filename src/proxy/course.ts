// One exchange under way: who asks for what, what was recorded of it, and how it ends. It ends exactly once, whichever
// side ends it, and its record says how.

import type { DecisionFields, Kind, Subject } from "../audit/types.ts";
import type { Identified } from "../identity/identify.ts";
import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { asFault, ProxyFault } from "../net/fault.ts";
import type { ResponseHead } from "../net/message.ts";
import { REASONS, type Reason } from "../net/reasons.ts";
import type { Allow, ConnectFacts, RequestFacts } from "../policy/types.ts";
import type { UpstreamAnswer, UpstreamConnection, UpstreamRequest } from "../upstream/engine.ts";
import type { Connection } from "./connection.ts";
import type { DownstreamExchange } from "./downstream.ts";
import { wasLifted } from "./approval.ts";
import { Bearing } from "./bearing.ts";
import { keepsBudgets, paidFor, retryAfter } from "./budget.ts";
import { type Asked, urlOf } from "./inquiry.ts";
import { type Against, Ledger } from "./ledger.ts";
import type { Underway } from "./live.ts";
import type { Meter } from "./meter.ts";
import { answerWith } from "./own-answer.ts";
import type { Parts, Published } from "./parts.ts";
import type { Passage } from "./relay.ts";
import { refusalTo } from "./refuse-grpc.ts";
import { mayBeSentAgain } from "./resend.ts";
import { noLongerAllowed } from "./rejudge.ts";
import type { Route } from "./route.ts";

export type Refused = Against & {
  readonly shown?: string | undefined;
  /** Where it was headed, where that is all that was understood. */
  readonly target?: Authority | undefined;
  /** What to refer to, where somebody is asked. */
  readonly approval?: string | undefined;
};

export class Course implements Underway {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly down: DownstreamExchange;
  readonly ledger: Ledger;
  /** Told when the sandbox is gone, or its body failed. */
  onEnded: (() => void) | undefined;
  readonly bearing: Bearing;
  meter: Meter | undefined;
  #facts: RequestFacts | ConnectFacts | undefined;
  #unread: "splice" | "tcp" | undefined;
  /** The policy whose miss was lifted for this exchange. */
  #lifted: string | undefined;
  #addresses: readonly Address[] = [];
  #upstream: UpstreamConnection | undefined;
  /** Octets sent over a connection that was then replaced. */
  #octetsBefore = 0;
  #status: number | undefined;
  #passage: Passage | undefined;
  /** The sandbox is gone, or its body failed; or the policy changed. Set at most once. */
  #ended: { readonly reason: Reason | undefined } | undefined;

  constructor(options: {
    parts: Parts;
    connection: Connection;
    down: DownstreamExchange;
    kind: Kind & ("request" | "connect");
  }) {
    const { parts, connection, down, kind } = options;
    this.parts = parts;
    this.connection = connection;
    this.down = down;
    this.bearing = new Bearing(parts, connection, down.request.head.headers);
    this.ledger = new Ledger(parts, kind === "connect" ? "tunnel" : "request");
    const { subject } = this.bearing;
    subject.kind = kind;
    subject.method = down.request.head.method;
    down.onGone = (fault) => this.#gone(fault);
  }

  /** What the request asks for is understood. */
  concerns(asked: Asked): void {
    this.bearing.concerns(asked);
  }

  /** Read once: the whole exchange goes by it, unless it was made to wait. */
  get published(): Published {
    return this.bearing.published;
  }

  get who(): Identified {
    return this.bearing.who;
  }

  /** The sandbox is gone. */
  get ended(): boolean {
    return this.#ended !== undefined && this.#ended.reason === undefined;
  }

  get sandbox(): string | undefined {
    return this.who.ok ? this.who.sandbox.id : undefined;
  }

  get subject(): Subject {
    return this.bearing.subject;
  }

  spentOutward(ms: number): void {
    this.ledger.outward += ms;
  }

  /** Writes the decision to allow. Once it resolves bytes may leave, and a new generation may cut them off. */
  allow(
    verdict: Allow,
    by: { readonly facts?: RequestFacts | ConnectFacts; readonly route?: Route | undefined },
  ): Promise<void> {
    const { facts, route } = by;
    // Whatever becomes of the exchange, the connection taken from the pool is its own now.
    this.#upstream = route?.idle;
    const fields: DecisionFields = {
      verdict: "allow",
      stage: facts?.stage,
      reason: undefined,
      rule: verdict.rule,
      preset: verdict.preset,
      handling: facts?.stage === "connect" ? verdict.handling : undefined,
      wouldDeny: verdict.wouldDeny,
      secrets: this.bearing.injections?.map(({ name }) => name),
      addresses: route?.addresses,
      parent: route?.through?.parent,
      unresolved: route?.through?.unresolved === true && route.addresses.length === 0,
    };
    return this.ledger.decide(this.subject, fields).then(() => this.#begin(verdict, facts, route));
  }

  #begin(verdict: Allow, facts: RequestFacts | ConnectFacts | undefined, route: Route | undefined): void {
    this.#facts = facts;
    this.#lifted = wasLifted(verdict.rule) ? this.subject.policy : undefined;
    if (verdict.rule.id.startsWith("grant:")) this.parts.approvals.used(verdict.rule.id.slice(6));
    this.#unread =
      facts?.stage === "connect" && verdict.handling !== "intercept" ? verdict.handling : undefined;
    this.#addresses = route?.addresses ?? [];
    this.parts.live.begin(this);
    // A generation published while the record was being written has not judged this yet.
    const newest = this.parts.published();
    if (newest !== this.published && this.rejudge(newest) !== undefined)
      throw new ProxyFault("policy-changed");
    this.stillWanted();
  }

  /** Throws where the sandbox is gone, or the exchange was cut. */
  stillWanted(): void {
    if (this.#ended !== undefined) throw new ProxyFault(this.#ended.reason ?? "upstream-reset");
  }

  /** Sends the request over the route; once more where an idle connection turned out to be closed under it. */
  send(route: Route, request: UpstreamRequest): Promise<UpstreamAnswer> {
    if (route.idle !== undefined) return this.#sendOver(route.idle, route, request);
    return this.#connect(route).then((fresh) => this.#sendOver(fresh, route, request));
  }

  #sendOver(first: UpstreamConnection, route: Route, request: UpstreamRequest): Promise<UpstreamAnswer> {
    this.#upstream = first;
    this.stillWanted();
    this.ledger.sent();
    const inform = (head: ResponseHead): void => {
      if (paidFor(this.meter, head)) this.down.inform(this.bearing.inward(head));
    };
    return first.send(request, inform).catch(async (fault: unknown) => {
      if (!mayBeSentAgain(first, fault, request)) throw fault;
      this.stillWanted();
      this.#octetsBefore = first.octetsOut;
      this.#upstream = undefined;
      const again = await this.#connect(route);
      this.#upstream = again;
      await this.meter?.again();
      this.stillWanted();
      return await again.send(request, inform);
    });
  }

  async #connect({ origin, addresses }: Route): Promise<UpstreamConnection> {
    const before = performance.now();
    try {
      return await this.published.upstream.connect(origin, addresses);
    } finally {
      this.spentOutward(performance.now() - before);
    }
  }

  /** Answers with why not; the decision is written first, if none was yet. */
  async refuse(refused: Refused): Promise<void> {
    const reason = await this.#decideAgainst(refused);
    // What was misread once is not trusted to say where the next request begins.
    if (REASONS[reason].kind === "malformed") this.down.last();
    const { head, body } = refusalTo(this.down.request.head, {
      reason,
      auditId: this.ledger.id,
      method: this.down.request.head.method,
      url: this.bearing.asked && urlOf(this.bearing.asked),
      shown: refused.shown,
      approval: refused.approval,
      retryAfter: retryAfter(this.meter?.short),
    });
    this.down.onAnswered = () => this.complete(reason);
    this.#status = head.status;
    answerWith(this.down, head, body);
  }

  async #decideAgainst({ reason, stage, rule, target }: Refused): Promise<Reason> {
    if (target !== undefined) this.concerns({ target });
    if (this.ledger.decided) return reason;
    try {
      await this.ledger.decideAgainst(this.subject, { reason, stage: stage ?? "request", rule });
      return reason;
    } catch {
      return "audit-unavailable";
    }
  }

  /** Something failed on the way: tells the sandbox if it can still be told. */
  async fail(cause: unknown): Promise<void> {
    const fault = asFault(cause);
    const reason = this.#ended?.reason ?? fault.reason;
    if (reason === "internal-error") this.parts.log.error("an exchange failed", { error: fault });
    this.#upstream?.abort();
    this.#passage?.cut();
    if (this.#ended !== undefined && this.#ended.reason === undefined) {
      await this.#decideAgainst({ reason });
      return this.complete(undefined, true);
    }
    if (this.down.answered) return this.complete(reason);
    await this.refuse({ reason });
  }

  /** The final head of the answer goes out with this status; the answer's end completes the exchange. */
  answering(status: number): void {
    this.#status = status;
    // Where this side ended it, the cut is only what followed. The connection may serve another exchange from then on.
    this.down.onAnswered = (cut) => {
      this.complete(cut === undefined ? cut : (this.#ended?.reason ?? cut));
      this.#upstream = undefined;
    };
  }

  /** What the connection carries from now on is no longer this exchange's messages. */
  passing(status: number, passage: Passage): void {
    this.#status = status;
    this.#passage = passage;
    if (this.#ended !== undefined) passage.cut();
  }

  complete(reason: Reason | undefined, aborted = false): void {
    this.parts.live.end(this);
    this.meter?.end();
    this.ledger.complete({
      reason,
      aborted,
      status: this.#status,
      address: this.#passage?.address ?? this.#upstream?.address,
      bytesUp: this.#octetsBefore + (this.#upstream?.octetsOut ?? 0) + (this.#passage?.bytesUp ?? 0),
      bytesDown: this.down.octetsOut + (this.#passage?.bytesDown ?? 0),
    });
  }

  rejudge(published: Published): Reason | undefined {
    const who = this.bearing.identify(published);
    if (!who.ok) return who.reason;
    // What one sandbox began does not go on as another's.
    if (who.sandbox.id !== this.sandbox) return "policy-changed";
    if (this.#facts === undefined) return undefined;
    const { policy, standing } = who.sandbox;
    // Of a tunnel that is read each request is counted by itself.
    const counted = this.#unread !== undefined || this.#facts.stage === "request";
    if (counted && !keepsBudgets(this.meter, published, who.sandbox, this.#facts.target))
      return "policy-changed";
    const dialed = this.#passage?.address ?? this.#upstream?.address;
    return noLongerAllowed(this.parts, published, {
      facts: { ...this.#facts, policy, standing, at: this.parts.now() },
      unread: this.#unread,
      lifted: this.#lifted === policy,
      addresses: dialed === undefined ? this.#addresses : [dialed],
    });
  }

  cut(reason: Reason): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    if (this.down.answered || this.#passage !== undefined) this.complete(reason);
    this.#upstream?.abort();
    this.#passage?.cut();
  }

  #gone(fault: ProxyFault | undefined): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason: fault?.reason };
    this.onEnded?.();
    // Before the decision is written there is nothing to complete; whoever waits for it finds out then.
    if (fault === undefined && this.ledger.decided) this.complete(undefined, true);
    this.#upstream?.abort();
  }
}
