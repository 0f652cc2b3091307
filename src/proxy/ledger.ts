// The account of one exchange, tunnel or failure: its two audit records, its metrics and its log line, each exactly once.
// Nothing may be forwarded or answered before `decide` has resolved.

import type { AuditEntry, CompletionFields, DecisionFields, Subject } from "../audit/types.ts";
import { ProxyFault } from "../net/fault.ts";
import { REASONS, type Reason } from "../net/reasons.ts";
import type { RuleRef, Stage } from "../policy/types.ts";
import type { ExchangeKind } from "../telemetry/table.ts";
import type { Parts } from "./parts.ts";

export type Outcome = {
  /** What went wrong after the decision, if anything. */
  readonly reason?: Reason | undefined;
  readonly aborted?: boolean;
  readonly status?: number | undefined;
  readonly address?: string | undefined;
  readonly bytesUp: number;
  readonly bytesDown: number;
};

export type Against = {
  readonly reason: Reason;
  readonly stage?: Stage | undefined;
  readonly rule?: RuleRef | undefined;
};

export class Ledger {
  readonly #parts: Parts;
  readonly #kind: ExchangeKind;
  readonly #startedAt = performance.now();
  #entry: AuditEntry | undefined;
  #denied: Reason | undefined;
  #decided = false;
  #completed = false;
  /** It ended while its decision was still being written. */
  #early: CompletionFields | undefined;
  /** Milliseconds spent on the origin before the request was written: DNS, dial, TLS. */
  outward = 0;
  #sentAt = 0;
  #answeredAt = 0;

  constructor(parts: Parts, kind: ExchangeKind) {
    this.#parts = parts;
    this.#kind = kind;
    parts.metrics.exchangeStart(kind);
  }

  get id(): string | undefined {
    return this.#entry?.id;
  }

  get decided(): boolean {
    return this.#decided;
  }

  /** Writes the decision record. Rejects with ProxyFault `audit-unavailable`; then nothing may leave. */
  decide(subject: Subject, fields: DecisionFields): Promise<void> {
    this.#decided = true;
    this.#denied = fields.verdict === "allow" ? undefined : fields.reason;
    const entry = this.#parts.audit.begin(subject);
    return entry.decide(fields).then(() => this.#written(entry, subject, fields), unavailable);
  }

  #written(entry: AuditEntry, subject: Subject, fields: DecisionFields): void {
    const { metrics, log } = this.#parts;
    this.#entry = entry;
    const { reason } = fields.wouldDeny ?? fields;
    metrics.decision({
      verdict: fields.verdict,
      reason,
      stage: fields.stage,
      method: subject.method,
      preset: fields.preset,
    });
    if (fields.reason !== undefined) this.#countReason(fields.reason);
    log.decision(subject, fields, entry.id);
    if (this.#early !== undefined) entry.complete(this.#early);
  }

  /** As `decide`, against. A fault is told apart from a verdict by its reason. */
  decideAgainst(subject: Subject, why: Against): Promise<void> {
    return this.decide(subject, {
      verdict: REASONS[why.reason].kind === "fault" ? "fault" : "deny",
      stage: why.stage,
      reason: why.reason,
      rule: why.rule,
      preset: undefined,
      handling: undefined,
      wouldDeny: undefined,
      addresses: undefined,
    });
  }

  /** What ended a tunnel, its own failures aside, was refused inside it, and counted there. */
  #countedInside(reason: Reason): boolean {
    return this.#kind === "tunnel" && REASONS[reason].kind !== "fault";
  }

  #countReason(reason: Reason): void {
    const { metrics } = this.#parts;
    const { kind } = REASONS[reason];
    if (kind === "fault") metrics.fault(reason);
    else if (kind === "malformed") metrics.malformed(reason);
    else if (kind === "limit") metrics.limit(reason);
  }

  /** The request's head is on its way to the origin. */
  sent(): void {
    this.#sentAt = performance.now();
    this.#parts.metrics.addedLatency(this.#sentAt - this.#startedAt - this.outward);
  }

  /** The origin's final head is here. */
  answered(): void {
    this.#answeredAt = performance.now();
    this.#parts.metrics.originLatency(this.#answeredAt - this.#sentAt);
  }

  /** Safe to call again: the first outcome stands. */
  complete(outcome: Outcome): void {
    if (this.#completed) return;
    this.#completed = true;
    const { metrics } = this.#parts;
    metrics.exchangeEnd(this.#kind);
    metrics.bytes("up", this.#kind, outcome.bytesUp);
    metrics.bytes("down", this.#kind, outcome.bytesDown);
    if (
      outcome.reason !== undefined &&
      outcome.reason !== this.#denied &&
      !this.#countedInside(outcome.reason)
    )
      this.#countReason(outcome.reason);
    const fields: CompletionFields = {
      outcome: this.#outcomeOf(outcome),
      reason: outcome.reason,
      status: outcome.status,
      address: outcome.address,
      bytesUp: outcome.bytesUp,
      bytesDown: outcome.bytesDown,
      msTotal: performance.now() - this.#startedAt,
      msOrigin: this.#answeredAt === 0 ? undefined : this.#answeredAt - this.#sentAt,
    };
    if (this.#entry === undefined) this.#early = fields;
    else this.#entry.complete(fields);
  }

  #outcomeOf({ reason, aborted }: Outcome): "completed" | "refused" | "aborted" | "fault" {
    if (aborted === true) return "aborted";
    if (reason === undefined) return "completed";
    return REASONS[reason].kind === "fault" ? "fault" : "refused";
  }
}

function unavailable(cause: unknown): never {
  throw cause instanceof ProxyFault ? cause : new ProxyFault("audit-unavailable", cause);
}
