// What was refused, as the records tell it: each kind once, with how often, so that whoever ran the sandbox sees what to allow.

import { stat } from "node:fs/promises";
import { listChains } from "./chains.ts";
import { listSegments } from "./files.ts";
import { readLines, readSealed } from "./lines.ts";
import type { AuditRecord, DecisionRecord } from "./schema.ts";

export type Refusal = {
  readonly method: string;
  readonly url: string;
  readonly reason: string;
  readonly times: number;
};

/** In the order in which they first happened; of many kinds the first 1,000. */
export async function refusalsIn(
  records: Iterable<AuditRecord> | AsyncIterable<AuditRecord>,
): Promise<Refusal[]> {
  const refusals = new Map<string, Refusal>();
  for await (const record of records) {
    if (record.type !== "decision" || record.verdict === "allow") continue;
    // Requests that differ in their query alone are one kind.
    const { query: _query, ...about } = record;
    const { method = record.kind, reason = record.verdict } = record;
    const url = record.host === undefined ? "?" : target(about);
    const key = `${method} ${url} ${reason}`;
    const times = refusals.get(key)?.times ?? 0;
    if (times > 0 || refusals.size < MOST_KINDS) refusals.set(key, { method, url, reason, times: times + 1 });
  }
  return [...refusals.values()];
}

/**
 * Decisions about one sandbox, by the chains of this machine, one after the other. `since`: ms since the epoch; what is
 * older is left out. Only lines that name the sandbox are read closely: the log may be long.
 */
export async function* decisionsAbout(
  directory: string,
  { sandbox, since }: { readonly sandbox: string; readonly since: number },
): AsyncGenerator<DecisionRecord> {
  const named = `"sandbox":${JSON.stringify(sandbox)}`;
  for (const chain of await listChains(directory)) {
    for (const { path } of await listSegments(chain.directory)) {
      if ((await stat(path)).mtimeMs < since) continue;
      for await (const lines of readLines(path)) {
        for (const { text } of lines) {
          if (!text.includes(named) || readSealed(text) === undefined) continue;
          const record = JSON.parse(text) as AuditRecord;
          if (record.type !== "decision" || record.sandbox !== sandbox) continue;
          // An id that was forgotten may be somebody else's now.
          if (Date.parse(record.at) >= since) yield record;
        }
      }
    }
  }
}

/** What it was about, as a URL; of a CONNECT, its authority. */
export function target({ scheme, host, port, path, query }: DecisionRecord): string {
  if (host === undefined) return "-";
  const name = host.includes(":") ? `[${host}]` : host;
  const usual = scheme === undefined ? undefined : scheme === "https" ? 443 : 80;
  const at = port === undefined || port === usual ? name : `${name}:${port}`;
  return `${scheme === undefined ? "" : `${scheme}://`}${at}${path ?? ""}${query ?? ""}`;
}

const MOST_KINDS = 1_000;
