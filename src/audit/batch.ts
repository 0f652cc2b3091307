// One exchange's two records, and the batch that records of one turn go out in. No completion is written without its
// decision.

import { randomUUID } from "node:crypto";
import type { ProxyFault } from "../net/fault.ts";
import type { Body } from "./record.ts";
import type { AuditEntry, CompletionFields, DecisionFields, Subject } from "./types.ts";

type Log = {
  decide(id: string, subject: Subject, fields: DecisionFields): Promise<void>;
  complete(id: string, fields: CompletionFields): void;
};

/** Records that go out together; the promise exists only if someone waits. */
export class Batch {
  bodies: Body[] = [];
  #promise: Promise<void> | undefined;
  #settle: { resolve: () => void; reject: (fault: ProxyFault) => void } | undefined;

  written(): Promise<void> {
    if (this.#promise === undefined) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#promise = promise;
      this.#settle = { resolve, reject };
    }
    return this.#promise;
  }

  resolve(): void {
    this.#settle?.resolve();
  }

  /** How many decisions that refused. */
  reject(fault: ProxyFault): number {
    if (this.#settle === undefined) return 0;
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

  async decide(fields: DecisionFields): Promise<void> {
    if (this.#decision !== "due") throw new Error("an exchange is decided once");
    this.#decision = "writing";
    try {
      await this.#log.decide(this.id, this.#subject, fields);
    } catch (error) {
      this.#decision = "refused";
      throw error;
    }
    this.#decision = "written";
    if (this.#completion !== undefined) this.#log.complete(this.id, this.#completion);
  }

  complete(fields: CompletionFields): void {
    if (this.#completion !== undefined) return;
    this.#completion = fields;
    // Where the decision is still being written, `decide` sends it after; where it never was, nothing happened.
    if (this.#decision === "written") this.#log.complete(this.id, fields);
  }
}
