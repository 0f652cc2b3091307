// The write-ahead log: decisions wait for their batch to be written, completions follow. While it cannot be written,
// every decision is refused, and it tries by itself to recover. It must never report a record as written that is not.

import { ProxyFault } from "../net/fault.ts";
import { Batch, Entry } from "./batch.ts";
import type { AuditEvents, AuditLimits } from "./limits.ts";
import type { Lock } from "./lock.ts";
import {
  completionBody,
  decisionBody,
  noteBody,
  recoveredBody,
  type Body,
  type NoteFields,
  type Privacy,
} from "./record.ts";
import type { Audit, AuditEntry, CompletionFields, DecisionFields, Subject } from "./types.ts";
import { lull, Watchdog, withinMs } from "./waits.ts";
import type { SegmentWriter } from "./writer.ts";

type Settings = {
  readonly directory: string;
  readonly privacy: Privacy;
  readonly now: () => number;
  readonly limits: AuditLimits;
  readonly on: AuditEvents;
};

export class WriteAheadLog implements Audit {
  readonly publicKey: string;
  readonly #settings: Settings;
  readonly #lock: Lock;
  #writer!: SegmentWriter;
  #state: "open" | "stalled" | "failed" | "closed" = "open";
  #gathering = new Batch();
  /** The write in progress, and what it writes. */
  #draining: Promise<void> | undefined;
  #inFlight: Batch | undefined;
  #recovering: Promise<void> | undefined;
  #closing = false;
  #scheduled = false;
  #soonTimer: NodeJS.Timeout | undefined;
  #checkpointDue = false;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  readonly #watchdog: Watchdog;
  #fault: unknown;
  #refused = 0;
  #lost = 0;

  constructor(settings: Settings, lock: Lock, publicKey: string) {
    this.#settings = settings;
    this.#watchdog = new Watchdog(settings.limits.writeMs, this.#stall);
    this.#lock = lock;
    this.publicKey = publicKey;
  }

  start(writer: SegmentWriter): void {
    this.#writer = writer;
  }

  get healthy(): boolean {
    return this.#state === "open" && !this.#closing;
  }

  begin(subject: Subject): AuditEntry {
    return new Entry(this, subject);
  }

  note(event: "start" | "stop" | "reload" | "worker" | "control", fields: NoteFields): void {
    this.#enqueue(noteBody(event, fields, this.#settings.now()));
  }

  noted(event: "control", fields: NoteFields): Promise<void> {
    // Refused, it is dropped as a decision is: what it says did not happen.
    return this.#written({ ...noteBody(event, fields, this.#settings.now()), decision: true });
  }

  decide(entry: Entry, subject: Subject, fields: DecisionFields): Promise<void> {
    const { now, privacy } = this.#settings;
    return this.#written(decisionBody(entry.id, subject, fields, { at: now(), privacy }), entry);
  }

  #written(body: Body, entry?: Entry): Promise<void> {
    const { queuedRecords } = this.#settings.limits;
    if (this.#closing || this.#state !== "open" || this.#gathering.bodies.length >= queuedRecords) {
      this.#refused++;
      return Promise.reject(new ProxyFault("audit-unavailable", this.#fault));
    }
    this.#schedule();
    return this.#gathering.awaited(body, entry);
  }

  complete(id: string, fields: CompletionFields): void {
    const { now, privacy } = this.#settings;
    this.#enqueue(completionBody(id, fields, { at: now(), privacy }));
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const { limits } = this.#settings;
    clearTimeout(this.#soonTimer);
    clearTimeout(this.#checkpointTimer);
    clearTimeout(this.#retryTimer);
    const finished = await withinMs(limits.closeMs, this.#finish());
    this.#state = "closed";
    clearTimeout(this.#retryTimer);
    this.#lose(this.#gathering.bodies.length);
    this.#gathering.reject(new ProxyFault("audit-unavailable"));
    this.#lock.release();
    if (finished !== true) throw new Error("the audit log could not be closed in order", { cause: finished });
  }

  /** From here on nothing may leave; attempts to recover begin. */
  fail(error: unknown): void {
    if (this.#state === "closed") return;
    this.#settings.on.failure?.(error);
    this.#fault = error;
    this.#refuseWaiting();
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#retryAfter(this.#settings.limits.retryMs);
  }

  // Completions and notes wait for better times, up to a bound.
  #enqueue(body: Body): void {
    const { limits } = this.#settings;
    const room = this.#state === "open" ? limits.queuedRecords * 2 : limits.keptRecords;
    if (this.#state === "closed" || this.#gathering.bodies.length >= room) return this.#lose(1);
    this.#gathering.bodies.push(body);
    if (this.#state === "open") this.#scheduleSoon();
  }

  /** Nobody waits for these: they go with the next decision, or shortly without one. */
  #scheduleSoon(): void {
    if (this.#scheduled || this.#soonTimer !== undefined) return;
    this.#soonTimer = setTimeout(() => {
      this.#soonTimer = undefined;
      if (this.#state === "open") this.#schedule();
    }, SOON_MS);
  }

  #schedule(): void {
    if (this.#scheduled || this.#draining !== undefined) return;
    this.#scheduled = true;
    void lull(() => this.#gathering.bodies.length).then(() => {
      this.#scheduled = false;
      this.#drain();
    });
  }

  #drain(): void {
    this.#draining ??= this.#writeAll().finally(() => {
      this.#draining = undefined;
      // What came as it ended has scheduled nothing.
      if (this.#state === "open" && this.#gathering.bodies.length > 0) this.#schedule();
    });
  }

  // Group commit: while one write is in flight, the next batch gathers, and takes with it what the turn that ends it brings.
  async #writeAll(): Promise<void> {
    const { on } = this.#settings;
    while (this.#state === "open" && (this.#gathering.bodies.length > 0 || this.#checkpointDue)) {
      const batch = this.#gathering;
      this.#gathering = new Batch();
      this.#inFlight = batch;
      this.#watchdog.begin();
      on.queue?.(batch.bodies.length);
      try {
        await this.#writer.append(batch.bodies, { checkpoint: this.#checkpointDue });
        this.#checkpointDue = false;
        batch.resolve();
        on.batch?.(batch.bodies.length);
        if ((this.#state as string) === "stalled") this.#resumeAfterStall();
        this.#armCheckpoint();
      } catch (error) {
        this.fail(error);
        this.#refuse(batch);
        this.#keep(batch);
      } finally {
        this.#watchdog.end();
        this.#inFlight = undefined;
      }
      if (this.#gathering.bodies.length > 0) await lull(() => this.#gathering.bodies.length);
    }
    on.queue?.(this.#gathering.bodies.length);
  }

  #armCheckpoint(): void {
    if (this.#writer.unsigned === 0 || this.#checkpointTimer !== undefined) return;
    this.#checkpointTimer = setTimeout(() => {
      this.#checkpointTimer = undefined;
      if (this.#writer.unsigned === 0 || this.#state !== "open") return;
      this.#checkpointDue = true;
      this.#schedule();
    }, this.#settings.limits.checkpointMs);
    this.#checkpointTimer.unref();
  }

  // The write hangs. What it holds may still reach the disk: then the log says more than was let out, never less.
  readonly #stall = (): void => {
    if (this.#state === "open") {
      this.#state = "stalled";
      this.#fault = new Error("a write to the audit log takes too long");
      this.#settings.on.failure?.(this.#fault);
      this.#refuseWaiting();
    }
    if (this.#inFlight !== undefined) this.#refuse(this.#inFlight);
  };

  #resumeAfterStall(): void {
    this.#state = "open";
    this.#gathering.bodies.unshift(this.#recovery("stall"));
    this.#settings.on.recovered?.();
  }

  #refuse(batch: Batch): void {
    this.#refused += batch.reject(new ProxyFault("audit-unavailable", this.#fault));
  }

  #refuseWaiting(): void {
    const waiting = this.#gathering;
    this.#gathering = new Batch();
    this.#gathering.bodies = waiting.bodies.filter((body) => !body.decision);
    this.#refuse(waiting);
  }

  // A failed batch's completions are of exchanges that did happen: they go to the front again.
  #keep(batch: Batch): void {
    this.#gathering.bodies = [...batch.bodies.filter((body) => !body.decision), ...this.#gathering.bodies];
    const { keptRecords } = this.#settings.limits;
    const excess = this.#gathering.bodies.filter((body) => !body.decision).length - keptRecords;
    if (excess <= 0) return;
    this.#gathering.bodies.splice(-excess);
    this.#lose(excess);
  }

  #lose(records: number): void {
    if (records === 0) return;
    this.#lost += records;
    this.#settings.on.lost?.(records);
  }

  #retryAfter(ms: number): void {
    const { limits, on } = this.#settings;
    this.#retryTimer = setTimeout(() => {
      this.#recovering = this.#recover();
      const again = (error: unknown): void => {
        on.failure?.(error);
        this.#fault = error;
        if (this.#state === "failed") this.#retryAfter(Math.min(ms * 2, limits.retryMaxMs));
      };
      this.#recovering.then(() => on.recovered?.(), again);
    }, ms);
    this.#retryTimer.unref();
  }

  async #recover(): Promise<void> {
    await this.#draining;
    await this.#writer.repair();
    this.#lock.renew();
    const [refused, lost] = [this.#refused, this.#lost];
    await this.#writer.append([this.#recovery("failure", { refused, lost })], { checkpoint: true });
    this.#refused -= refused;
    this.#lost -= lost;
    this.#fault = undefined;
    if (this.#state === "failed") this.#state = "open";
    this.#drain();
  }

  #recovery(cause: "failure" | "stall", counts?: { refused: number; lost: number }): Body {
    const fault = (this.#fault as NodeJS.ErrnoException | undefined)?.code;
    const found = counts ?? { refused: this.#refused, lost: this.#lost };
    if (counts === undefined) this.#refused = this.#lost = 0;
    return recoveredBody({ cause, fault, ...found }, this.#settings.now());
  }

  async #finish(): Promise<true> {
    try {
      await this.#recovering?.catch(() => {});
      if (this.#state === "failed") await this.#recover();
      // Twice: completions of what the first round decided.
      for (let round = 0; round < 2; round++) {
        this.#drain();
        await this.#draining;
      }
      if (this.#state !== "open") throw this.#fault;
      this.#state = "closed";
      await this.#writer.close();
      return true;
    } catch (error) {
      await this.#writer.abandon().catch(() => {});
      throw error;
    }
  }
}

const SOON_MS = 2;
