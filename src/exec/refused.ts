// What was refused to a sandbox, as its records tell it: each kind once, with how often, so that whoever ran it sees what to allow.

import type { AuditRecord } from "../audit/schema.ts";

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
    const { method = record.kind, scheme, host = "?", port, path = "", reason = record.verdict } = record;
    const shown = port === undefined || port === DEFAULT_PORTS[scheme ?? ""] ? host : `${host}:${port}`;
    const url = scheme === undefined ? shown : `${scheme}://${shown}${path}`;
    const key = `${method} ${url} ${reason}`;
    refusals.set(key, { method, url, reason, times: (refusals.get(key)?.times ?? 0) + 1 });
  }
  return [...refusals.values()];
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };
