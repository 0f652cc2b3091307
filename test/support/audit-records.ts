// Reads a running proxy's audit log from its directory, as whoever follows it would.

import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

export type AuditRecord = { readonly type: string; readonly [field: string]: unknown };

export type AuditFollower = {
  /** All records so far, oldest first, as parsed lines; exchanges and notes alike. */
  records(): Promise<AuditRecord[]>;
  /** Resolves with the records once `enough` holds of them; polls the log, which is written behind the answer. */
  recorded(enough: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>;
};

/** What it has read it does not read again: a test asks many times, of a log that only grows. */
export function followAudit(directory: string): AuditFollower {
  const known = new Map<string, Read>();
  const read = (): AuditRecord[] =>
    readdirSync(directory)
      .filter((name) => name.endsWith(".jsonl"))
      .toSorted()
      .flatMap((name) => {
        const now = readOn(join(directory, name), known.get(name) ?? UNREAD);
        known.set(name, now);
        return now.records;
      });
  return {
    records: async () => read(),
    async recorded(enough) {
      const until = performance.now() + WAIT_MS;
      for (let pauseMs = 1; ; pauseMs = Math.min(10, pauseMs + 1)) {
        const all = read();
        if (enough(all)) return all;
        if (performance.now() > until) throw new Error(`not recorded: ${JSON.stringify(all, undefined, 1)}`);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
  };
}

type Read = { readonly octets: number; readonly records: readonly AuditRecord[] };
const UNREAD: Read = { octets: 0, records: [] };

function readOn(path: string, before: Read): Read {
  const { size } = statSync(path);
  if (size === before.octets) return before;
  // Cut short, as a torn write is: from its beginning.
  if (size < before.octets) return readOn(path, UNREAD);
  const more = Buffer.alloc(size - before.octets);
  const file = openSync(path, "r");
  const got = readSync(file, more, 0, more.length, before.octets);
  closeSync(file);
  const whole = more.subarray(0, got).lastIndexOf("\n") + 1;
  const lines = more.toString("utf8", 0, whole).split("\n").slice(0, -1);
  return {
    octets: before.octets + whole,
    records: [...before.records, ...lines.map((line) => JSON.parse(line) as AuditRecord)],
  };
}

export const auditRecords = (directory: string): Promise<AuditRecord[]> => followAudit(directory).records();
export const auditRecorded: (
  directory: string,
  enough: (records: AuditRecord[]) => boolean,
) => Promise<AuditRecord[]> = (directory, enough) => followAudit(directory).recorded(enough);

const WAIT_MS = 10_000;

/** The decision and the completion of each exchange, in the order of decisions. */
export function exchanges(
  records: readonly AuditRecord[],
): { decision: AuditRecord; completion: AuditRecord | undefined; completions: number }[] {
  const completions = Map.groupBy(
    records.filter(({ type }) => type === "completion"),
    (record) => record["id"],
  );
  return records
    .filter(({ type }) => type === "decision")
    .map((decision) => {
      const own = completions.get(decision["id"]) ?? [];
      return { decision, completion: own[0], completions: own.length };
    });
}

/** Every decision has exactly one completion. */
export function settled(records: readonly AuditRecord[]): boolean {
  return exchanges(records).every(({ completions }) => completions === 1);
}
