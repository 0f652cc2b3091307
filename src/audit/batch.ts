// One exchange's two records, and the batch that records of one turn go out in. No completion is written without its
// decision.

import { randomUUID } from "node:crypto";
import type { ProxyFault } from "../net/fault.ts";
import type { Body } from "./record.ts";
import type { AuditEntry, CompletionFields, DecisionFields, Subject } from "./types.ts";

type Log = {
  /** Tells the entry what became of it, before whoever waits for the promise. */
  decide(entry: Entry, subject: Subject, fields: DecisionFields): Promise<void>;
  complete(id: string, fields: CompletionFields): void;
};

/** Records that go out together; the promise exists only if someone waits. */
export class Batch {
  bodies: Body[] = [];
  /** Whose decisions are among them. */
  readonly #entries: Entry[] = [];
  #promise: Promise<void> | undefined;
  #settle: { resolve: () => void; reject: (fault: ProxyFault) => void } | undefined;

  /** Adds what somebody waits for; the promise is shared by all who wait for what was made in one turn. */
  awaited(body: Body, entry: Entry | undefined): Promise<void> {
    this.bodies.push(body);
    if (entry !== undefined) this.#entries.push(entry);
    if (this.#promise === undefined) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#promise = promise;
      this.#settle = { resolve, reject };
    }
    return this.#promise;
  }

  resolve(): void {
    for (const entry of this.#entries) entry.written();
    this.#settle?.resolve();
  }

  /** How many decisions that refused. */
  reject(fault: ProxyFault): number {
    if (this.#settle === undefined) return 0;
    for (const entry of this.#entries) entry.refused();
    this.#settle.reject(fault);
    this.#settle = undefined;
    return this.bodies.reduce((count, body) => count + (body.decision ? 1 : 0), 0);
  }
}

export class Entry implements AuditEntry {
  readonly id = randomUUID();
  readonly #log: Log;
  readonly #subject: Subject;
  #decision: "due" | "writing" | "written" | "refused" = "due";
  #completion: CompletionFields | undefined;

  constructor(log: Log, subject: Subject) {
    this.#log = log;
    this.#subject = subject;
  }

  decide(fields: DecisionFields): Promise<void> {
    if (this.#decision !== "due") return Promise.reject(new Error("an exchange is decided once"));
    this.#decision = "writing";
    return this.#log.decide(this, this.#subject, fields);
  }

  written(): void {
    // A write that hung, and was given up for its waiters, may end well after all.
    if (this.#decision !== "writing") return;
    this.#decision = "written";
    if (this.#completion !== undefined) this.#log.complete(this.id, this.#completion);
  }

  refused(): void {
    this.#decision = "refused";
  }

  complete(fields: CompletionFields): void {
    if (this.#completion !== undefined) return;
    this.#completion = fields;
    // Where the decision is still being written, it goes after that; where it never was, nothing happened.
    if (this.#decision === "written") this.#log.complete(this.id, fields);
  }
}
