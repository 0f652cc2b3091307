// What was refused to a sandbox, as its records tell it: each kind once, with how often, so that whoever ran it sees what to allow.

import type { AuditRecord } from "../audit/schema.ts";
import { target } from "./audit-line.ts";

export type Refusal = {
  readonly method: string;
  readonly url: string;
  readonly reason: string;
  readonly times: number;
};

/** In the order in which they first happened. */
export function refusalsIn(records: Iterable<AuditRecord>): Refusal[] {
  const refusals = new Map<string, Refusal>();
  for (const record of records) {
    if (record.type !== "decision" || record.verdict === "allow") continue;
    // Requests that differ in their query alone are one kind.
    const { query: _query, ...about } = record;
    const { method = record.kind, reason = record.verdict } = record;
    const url = record.host === undefined ? "?" : target(about);
    const key = `${method} ${url} ${reason}`;
    refusals.set(key, { method, url, reason, times: (refusals.get(key)?.times ?? 0) + 1 });
  }
  return [...refusals.values()];
}
