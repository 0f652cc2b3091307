// Reads a running proxy's audit log from its directory, as whoever follows it would.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export type AuditRecord = { readonly type: string; readonly [field: string]: unknown };

/** All records so far, oldest first, as parsed lines; exchanges and notes alike. */
export async function auditRecords(directory: string): Promise<AuditRecord[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(".jsonl")).toSorted();
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
  return texts.flatMap((text) =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AuditRecord),
  );
}

/** Resolves with the records once `enough` holds of them; polls the log, which is written behind the answer. */
export async function auditRecorded(
  directory: string,
  enough: (records: AuditRecord[]) => boolean,
): Promise<AuditRecord[]> {
  for (let tries = 0; tries < 500; tries++) {
    const all = await auditRecords(directory);
    if (enough(all)) return all;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not recorded: ${JSON.stringify(await auditRecords(directory), undefined, 1)}`);
}

/** The decision and the completion of each exchange, in the order of decisions. */
export function exchanges(
  records: readonly AuditRecord[],
): { decision: AuditRecord; completion: AuditRecord | undefined; completions: number }[] {
  return records
    .filter(({ type }) => type === "decision")
    .map((decision) => {
      const completions = records.filter(
        (record) => record.type === "completion" && record["id"] === decision["id"],
      );
      return { decision, completion: completions[0], completions: completions.length };
    });
}

/** Every decision has exactly one completion. */
export function settled(records: readonly AuditRecord[]): boolean {
  return exchanges(records).every(({ completions }) => completions === 1);
}
