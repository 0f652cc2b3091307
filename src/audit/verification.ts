// One run over a log's records, in order: the chain, the segments, the signatures, the head. It must never call a broken
// chain whole; after the first break it judges nothing more.

import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import { HEAD_FILE, type SegmentFile } from "./files.ts";
import { checkpointStatement, fingerprint, parseHead, readOrUndefined, signed, type Head } from "./keys.ts";
import { readId, readLines, readSealed, type Line, type Sealed } from "./lines.ts";
import { chainHash, GENESIS, type Position } from "./record.ts";

export type ProblemKind =
  | "changed"
  | "dropped"
  | "reordered"
  | "repeated"
  | "segment-missing"
  | "segment-mismatch"
  | "key-mismatch"
  | "checkpoint-invalid"
  | "head-missing"
  | "head-invalid"
  | "tail-cut"
  | "written-after-close"
  | "loss-recorded";

export type Problem = {
  readonly kind: ProblemKind;
  readonly file: string;
  /** From 1; 0 where it concerns the file as a whole. */
  readonly line: number;
  /** Number of the first record concerned. */
  readonly seq: number;
  readonly detail: string;
};

export type VerifyReport = {
  readonly ok: boolean;
  readonly problem: Problem | undefined;
  readonly warnings: readonly string[];
  readonly segments: number;
  readonly records: number;
  readonly decisions: number;
  readonly completions: number;
  /** Decisions without their completion: in flight now, or when the proxy was killed. */
  readonly openDecisions: number;
  readonly checkpoints: number;
  readonly recoveries: number;
  /** Exchanges refused unrecorded, and completions dropped, while the log could not be written. */
  readonly refused: number;
  readonly lost: number;
  readonly first: number;
  readonly last: number;
  /** The last record that a checkpoint signs; later ones are chained, not yet signed. */
  readonly signed: number;
};

type Place = { readonly file: SegmentFile; readonly number: number };

const OPEN_DECISIONS_MAX = 1_000_000;

export class Verification {
  readonly warnings: string[] = [];
  /** Those that this chain says have served: each has a chain of its own. */
  readonly workers = new Set<number>();
  readonly #files: readonly SegmentFile[];
  readonly #key: KeyObject;
  readonly #head: Head | undefined;
  readonly #pruned: boolean;
  readonly #open = new Set<string>();
  #position: Position | undefined;
  #problem: Problem | undefined;
  /** The chain broke: nothing after it can be judged. */
  #broken = false;
  #hashAtHead: string | undefined;
  #writer = "";
  #counts = {
    segments: 0,
    records: 0,
    decisions: 0,
    completions: 0,
    checkpoints: 0,
    recoveries: 0,
    refused: 0,
    lost: 0,
    first: 0,
    signed: 0,
  };

  constructor(
    files: readonly SegmentFile[],
    { key, head, pruned }: { key: KeyObject; head: Head | undefined; pruned: boolean },
  ) {
    this.#files = files;
    this.#key = key;
    this.#head = head;
    this.#pruned = pruned;
  }

  async readAll(): Promise<void> {
    let previous: SegmentFile | undefined;
    for (const file of this.#files) {
      const due = previous === undefined ? (this.#pruned ? file.number : 1) : previous.number + 1;
      if (file.number !== due) {
        const detail = `segment ${due} is missing before segment ${file.number}`;
        return this.#break("segment-missing", { file, number: 0 }, detail);
      }
      await this.#readSegment(file, file === this.#files.at(-1));
      if (this.#broken) return;
      this.#counts.segments++;
      previous = file;
    }
  }

  async #readSegment(file: SegmentFile, isLast: boolean): Promise<void> {
    let number = 0;
    for await (const lines of readLines(file.path)) {
      for (const line of lines) {
        const place = { file, number: ++number };
        if (line.complete) await this.#readLine(line, place);
        else if (isLast) this.warnings.push(`${file.name}:${number} is torn and not sealed yet`);
        else this.#break("changed", place, "the segment ends within a record");
        if (this.#broken) return;
      }
    }
    if (number === 0 && !isLast) this.#break("changed", { file, number: 0 }, "the segment is empty");
  }

  async #readLine(line: Line, place: Place): Promise<void> {
    const sealed = readSealed(line.text);
    if (sealed === undefined) return this.#break("changed", place, "the line is no record");
    this.#position ??= this.#start(line, sealed);
    const before = this.#position;
    const isNext = sealed.seq === before.seq + 1 && chainHash(before.hash, sealed.open) === sealed.hash;
    if (!isNext) return this.#diagnose(sealed, place);
    this.#writer ||= sealed.writer;
    this.#counts.first ||= sealed.seq;
    this.#counts.records++;
    this.#take(line, sealed, { place, before });
    this.#position = { seq: sealed.seq, hash: sealed.hash };
    if (sealed.seq === this.#head?.seq) this.#hashAtHead = sealed.hash;
  }

  /** Where older segments are gone, the first header says what the chain goes on from. */
  #start(line: Line, sealed: Sealed): Position {
    if (!this.#pruned || sealed.type !== "segment") return GENESIS;
    return { seq: sealed.seq - 1, hash: String(fieldsOf(line)["previous"]) };
  }

  #take(line: Line, sealed: Sealed, { place, before }: { place: Place; before: Position }): void {
    if (sealed.writer !== this.#writer) this.#break("changed", place, "the record is another writer's");
    if (place.number === 1 || sealed.type === "segment") this.#takeHeader(line, sealed, place);
    if (sealed.type === "checkpoint") this.#takeCheckpoint(line, { place, before });
    if (sealed.type === "recovered") this.#takeRecovery(line, place);
    if (sealed.type === "worker") this.#takeWorker(line);
    if (sealed.type !== "decision" && sealed.type !== "completion") return;
    const id = readId(line.text) ?? "";
    if (sealed.type === "decision") {
      this.#counts.decisions++;
      if (this.#open.size < OPEN_DECISIONS_MAX) this.#open.add(id);
    } else {
      this.#counts.completions++;
      this.#open.delete(id);
    }
  }

  #takeHeader(line: Line, sealed: Sealed, place: Place): void {
    const { segment, key } = fieldsOf(line);
    if (sealed.type !== "segment" || place.number !== 1 || segment !== place.file.number) {
      return this.#break("segment-mismatch", place, "the file does not begin with its own header");
    }
    if (key !== fingerprint(this.#key)) this.#break("key-mismatch", place, `signed by the key ${key}`);
  }

  #takeCheckpoint(line: Line, { place, before }: { place: Place; before: Position }): void {
    const { of, signature } = fieldsOf(line);
    if (
      of !== before.seq ||
      typeof signature !== "string" ||
      !signed(this.#key, checkpointStatement(this.#writer, before), signature)
    ) {
      const detail = `a record from ${this.#counts.signed + 1} to ${before.seq + 1} was changed: the signature is not theirs`;
      return this.#break("checkpoint-invalid", place, detail);
    }
    this.#counts.checkpoints++;
    this.#counts.signed = before.seq;
  }

  #takeRecovery(line: Line, place: Place): void {
    const { missing, head, refused, lost } = fieldsOf(line);
    this.#counts.recoveries++;
    this.#counts.refused += Number(refused ?? 0);
    this.#counts.lost += Number(lost ?? 0);
    if (missing === undefined && head === undefined) return;
    const detail =
      missing !== undefined ? `${missing} signed records were gone` : `the head file was ${head}`;
    this.#note("loss-recorded", place, `${detail} when the log was opened`);
  }

  #takeWorker(line: Line): void {
    const { worker } = Object(parsed(line)["fields"]) as { readonly worker?: unknown };
    if (typeof worker === "number") this.workers.add(worker);
  }

  /** The line is not the one that is due: finds out what happened to that one. */
  async #diagnose(sealed: Sealed, place: Place): Promise<void> {
    const { seq, hash } = this.#position ?? GENESIS;
    const due = seq + 1;
    const renumbered = sealed.open.replace(/"seq":\d+/, `"seq":${due}`);
    if (sealed.seq === due || chainHash(hash, renumbered) === sealed.hash) {
      return this.#break("changed", place, "the record does not match its hash");
    }
    if (sealed.seq < due) return this.#break("repeated", place, `record ${sealed.seq} stands here again`);
    const elsewhere = await this.#find(due, place);
    if (elsewhere !== undefined) {
      return this.#break("reordered", elsewhere, `the record stands after record ${sealed.seq}`);
    }
    const range = sealed.seq === due + 1 ? `record ${due} is` : `records ${due} to ${sealed.seq - 1} are`;
    this.#break("dropped", place, `${range} missing before this line`);
  }

  async #find(seq: number, after: Place): Promise<Place | undefined> {
    for (const file of this.#files.slice(this.#files.indexOf(after.file))) {
      let number = 0;
      for await (const lines of readLines(file.path)) {
        for (const line of lines) {
          number++;
          if (file === after.file && number <= after.number) continue;
          if (readSealed(line.text)?.seq === seq) return { file, number };
        }
      }
    }
    return undefined;
  }

  async compareHead(directory: string, exists: boolean): Promise<void> {
    const file = this.#files.at(-1) ?? { number: 0, name: HEAD_FILE, path: join(directory, HEAD_FILE) };
    const place = { file, number: 0 };
    if (this.#broken) return;
    const head = this.#head;
    if (head === undefined) {
      const kind = exists ? "head-invalid" : "head-missing";
      return this.#break(kind, place, `${HEAD_FILE} is ${exists ? "not signed by this key" : "missing"}`);
    }
    const { seq: last, hash } = this.#position ?? GENESIS;
    if (head.seq > last) {
      return this.#break("tail-cut", place, `records ${last + 1} to ${head.seq} are missing at the end`);
    }
    const hashAtHead = head.seq === last ? hash : head.seq === 0 ? GENESIS.hash : this.#hashAtHead;
    if (hashAtHead !== undefined && hashAtHead !== head.hash) {
      return this.#break("head-invalid", place, `record ${head.seq} is not the one that the head signs`);
    }
    this.#counts.signed = Math.max(this.#counts.signed, head.seq);
    if (!head.closed || head.seq === last) return;
    const now = parseHead((await readOrUndefined(join(directory, HEAD_FILE))) ?? "", this.#key);
    if (now?.closed === true)
      this.#break("written-after-close", place, `the log was closed at record ${head.seq}`);
  }

  #break(kind: ProblemKind, place: Place, detail: string): void {
    this.#broken = true;
    this.#note(kind, place, detail);
  }

  #note(kind: ProblemKind, { file, number }: Place, detail: string): void {
    const seq = (this.#position?.seq ?? 0) + 1;
    this.#problem ??= { kind, file: file.name, line: number, seq, detail };
  }

  report(): VerifyReport {
    const last = this.#position?.seq ?? 0;
    const { first, signed, ...counts } = this.#counts;
    const openDecisions = this.#open.size;
    const ok = this.#problem === undefined;
    return {
      ok,
      problem: this.#problem,
      warnings: this.warnings,
      ...counts,
      openDecisions,
      first,
      last,
      signed,
    };
  }
}

/** A line that chains may still be no JSON: after the last signature, whoever can write can chain. */
function fieldsOf(line: Line): Readonly<Record<string, string | number | undefined>> {
  return parsed(line) as Readonly<Record<string, string | number | undefined>>;
}

function parsed(line: Line): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(line.text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
