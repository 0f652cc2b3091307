// Bounds of the audit log, with their defaults, and what it reports for metrics.

export type AuditLimits = {
  /** A write that takes longer is a failure. */
  readonly writeMs: number;
  /** Records waiting for the disk; beyond it decisions are refused. */
  readonly queuedRecords: number;
  /** Completions and notes kept while the log cannot be written. */
  readonly keptRecords: number;
  /** A signature at least after so many records, and so long after the first unsigned one. */
  readonly checkpointRecords: number;
  readonly checkpointMs: number;
  /** First and longest pause between attempts to recover. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
  readonly closeMs: number;
};

/** For metrics; called synchronously, must not throw. */
export type AuditEvents = {
  batch?(records: number): void;
  queue?(depth: number): void;
  failure?(error: unknown): void;
  recovered?(): void;
  lost?(records: number): void;
};

export const DEFAULT_LIMITS: AuditLimits = {
  writeMs: 5_000,
  queuedRecords: 50_000,
  keptRecords: 20_000,
  checkpointRecords: 4_096,
  checkpointMs: 5_000,
  retryMs: 100,
  retryMaxMs: 5_000,
  closeMs: 10_000,
};
