// Follows the log's records, across rotation, for people: existing ones, then new ones as they are written. It only reads,
// and never delays the writer.

import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { listChains } from "./chains.ts";
import { listSegments, type SegmentFile } from "./files.ts";
import { readLines, readSealed } from "./lines.ts";
import type { AuditRecord, DecisionRecord } from "./schema.ts";

export type TailOptions = {
  readonly directory: string;
  /** `start`: everything; `end`: new records only; a number: the last so many that pass the filter, then new ones. */
  readonly from: "start" | "end" | number;
  readonly follow: boolean;
  readonly filter?: TailFilter;
  readonly signal?: AbortSignal;
  readonly pollMs?: number;
};

/** All that are given must hold; completions follow their decision, other records have none of these. */
export type TailFilter = {
  readonly verdict?: DecisionRecord["verdict"] | undefined;
  readonly host?: string | undefined;
  readonly sandbox?: string | undefined;
};

const POLL_MS = 200;
/** Exchanges in flight whose decision passed the filter. */
const FOLLOWED_MAX = 50_000;

/** Ends when the signal aborts, or at the end of the log where it does not follow. */
export async function* tailAudit(options: TailOptions): AsyncGenerator<AuditRecord> {
  const { from, follow, signal } = options;
  const passes = filterOf(options.filter ?? {});
  const cursors = new Cursors(options.directory);
  const last: AuditRecord[] = [];
  for await (const record of cursors.read()) {
    if (isAborted(signal)) return;
    if (!passes(record) || from === "end") continue;
    if (from === "start") yield record;
    else if (last.push(record) > from) last.shift();
  }
  yield* last;
  if (!follow) return;
  for (;;) {
    await sleep(options.pollMs ?? POLL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    for await (const record of cursors.read()) {
      if (isAborted(signal)) return;
      if (passes(record)) yield record;
    }
    if (isAborted(signal)) return;
  }
}

// A call, because the type checker takes a checked property for constant.
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted ?? false;
}

/** All chains of a log as one, by time; within each in its order. */
class Cursors {
  readonly #directory: string;
  readonly #known = new Map<string, Cursor>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  async *read(): AsyncGenerator<AuditRecord> {
    const heads: { readonly record: AuditRecord; readonly from: AsyncGenerator<AuditRecord> }[] = [];
    const advance = async (from: AsyncGenerator<AuditRecord>): Promise<void> => {
      const { done, value } = await from.next();
      if (done !== true) heads.push({ record: value, from });
    };
    for (const { directory } of await listChains(this.#directory)) {
      const cursor = this.#known.get(directory) ?? new Cursor(directory);
      this.#known.set(directory, cursor);
      await advance(cursor.read());
    }
    while (heads.length > 0) {
      const first = heads.reduce((least, head) => (head.record.at < least.record.at ? head : least));
      heads.splice(heads.indexOf(first), 1);
      yield first.record;
      await advance(first.from);
    }
  }
}

/** Reads on from where it stopped; a record that is only half written is left for the next time. */
class Cursor {
  readonly #directory: string;
  #segment = 0;
  #offset = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async *read(): AsyncGenerator<AuditRecord> {
    for (const file of await listSegments(this.#directory)) {
      if (file.number < this.#segment) continue;
      if (file.number > this.#segment) this.#offset = 0;
      this.#segment = file.number;
      yield* this.#readFile(file);
    }
  }

  async *#readFile(file: SegmentFile): AsyncGenerator<AuditRecord> {
    // A failed batch was cut off again: what was shown of it never counted.
    this.#offset = Math.min(this.#offset, (await stat(file.path)).size);
    for await (const lines of readLines(file.path, this.#offset)) {
      for (const line of lines) {
        if (!line.complete) return;
        this.#offset = line.end;
        if (readSealed(line.text) !== undefined) yield JSON.parse(line.text) as AuditRecord;
      }
    }
  }
}

function filterOf({ verdict, host, sandbox }: TailFilter): (record: AuditRecord) => boolean {
  if (verdict === undefined && host === undefined && sandbox === undefined) return () => true;
  const followed = new LRUCache<string, true>({ max: FOLLOWED_MAX });
  return (record) => {
    if (record.type === "completion") return followed.delete(record.id);
    if (record.type !== "decision") return false;
    const passes =
      (verdict === undefined || record.verdict === verdict) &&
      (host === undefined || record.host === host.toLowerCase()) &&
      (sandbox === undefined || record.sandbox === sandbox);
    if (passes) followed.set(record.id, true);
    return passes;
  };
}
