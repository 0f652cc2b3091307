// Writes batches of records into segments: numbers and chains them, signs checkpoints, keeps the head, rotates. A batch
// is either whole on disk or cut off again by `repair`; the chain's position moves only after its write returned.

import { fstat as fstatCallback } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { HEAD_FILE, segmentName, writeAll, type FileSystem } from "./files.ts";
import { checkpointStatement, formatHead, type Signer } from "./keys.ts";
import { checkpointBody, seal, segmentBody, type Body, type Position, type Privacy } from "./record.ts";
import type { Resumption } from "./recover.ts";

export type WriterOptions = {
  readonly directory: string;
  readonly durability: "process" | "disk";
  readonly rotate: { readonly octets: number; readonly daily: boolean };
  readonly privacy: Privacy;
  readonly checkpointRecords: number;
  readonly now: () => number;
  readonly files: FileSystem;
  readonly signer: Signer;
  /** A checkpoint's sync or the head could not be written: as bad as a failed record. */
  readonly onFailure: (error: unknown) => void;
};

type Segment = {
  readonly number: number;
  readonly path: string;
  readonly fd: number;
  readonly day: string;
  octets: number;
};

export class SegmentWriter {
  readonly #options: WriterOptions;
  readonly #writer: string;
  #position: Position;
  #lastNumber: number;
  #segment: Segment | undefined;
  /** Records since the last signature. */
  #unsigned = 0;
  #head: Promise<void> | undefined;
  #headDue = false;

  constructor(options: WriterOptions, from: Resumption) {
    this.#options = options;
    this.#writer = from.writer;
    this.#position = from.position;
    this.#lastNumber = from.lastNumber;
  }

  /** Takes the last segment up where it ended, and says in the head that the log is open, before anything is written. */
  async open(from: Resumption): Promise<void> {
    await this.#writeHead(false);
    if (from.segment === undefined) return;
    const { number, path, day, octets } = from.segment;
    const fd = await this.#options.files.open(path, "a", FILE_MODE);
    this.#segment = { number, path, fd, day, octets };
  }

  get unsigned(): number {
    return this.#unsigned;
  }

  /** Resolves once every record is written (and, under `disk`, synced). After a rejection, `repair` before the next. */
  async append(bodies: readonly Body[], { checkpoint = false } = {}): Promise<void> {
    const at = this.#options.now();
    if (this.#segment !== undefined && this.#rotationDue(this.#segment, at)) await this.#endSegment(at);
    const segment = this.#segment ?? (await this.#startSegment(at));
    const batch = this.#seal(segment.octets === 0 ? [this.#segmentHeader(segment, at), ...bodies] : bodies);
    const signs = checkpoint || this.#unsigned + bodies.length >= this.#options.checkpointRecords;
    if (signs) this.#sign(batch, at);
    await this.#write(segment, batch);
    this.#unsigned = signs ? 0 : this.#unsigned + bodies.length;
    if (signs) this.#refreshHead();
  }

  /** Cuts off what a failed write left behind, or gives up a file that was removed or moved away. */
  async repair(): Promise<void> {
    const { files, directory, signer } = this.#options;
    await this.#head;
    const segment = this.#segment;
    if (segment !== undefined && (await isAt(segment.path, segment.fd))) {
      await files.truncate(segment.fd, segment.octets);
    } else {
      this.#segment = undefined;
      if (segment !== undefined) await files.close(segment.fd);
      await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
      await signer.restore();
    }
    await this.#writeHead(false);
  }

  /** Ends the log in order: a last checkpoint, synced, and a head that says so. */
  async close(): Promise<void> {
    await this.#head;
    if (this.#segment !== undefined) await this.#endSegment(this.#options.now());
    await this.#writeHead(true);
  }

  /** Lets go of the file without a word, where `close` was not possible. */
  async abandon(): Promise<void> {
    const segment = this.#segment;
    this.#segment = undefined;
    if (segment !== undefined) await this.#options.files.close(segment.fd);
  }

  #rotationDue(segment: Segment, at: number): boolean {
    const { octets, daily } = this.#options.rotate;
    return segment.octets >= octets || (daily && segment.day !== utcDay(at));
  }

  async #endSegment(at: number): Promise<void> {
    const segment = this.#segment;
    if (segment === undefined) return;
    const { files } = this.#options;
    await this.#head;
    if (segment.octets > 0) {
      const batch = this.#seal([]);
      this.#sign(batch, at);
      await this.#write(segment, batch);
      this.#unsigned = 0;
    }
    await files.datasync(segment.fd);
    this.#segment = undefined; // before close: after a failed one, the descriptor may be another file's
    await files.close(segment.fd);
  }

  async #startSegment(at: number): Promise<Segment> {
    const { files, directory } = this.#options;
    const number = this.#lastNumber + 1;
    const path = join(directory, segmentName(number, at));
    const fd = await files.open(path, "ax", FILE_MODE);
    const segment = { number, path, fd, day: utcDay(at), octets: 0 };
    this.#segment = segment;
    this.#lastNumber = number;
    await files.syncDirectory(directory);
    return segment;
  }

  #segmentHeader(segment: Segment, at: number): Body {
    const { signer, privacy } = this.#options;
    return segmentBody(
      { number: segment.number, previous: this.#position.hash, key: signer.fingerprint, privacy },
      at,
    );
  }

  #seal(bodies: readonly Body[]): Batch {
    const batch: Batch = { text: "", position: this.#position };
    for (const body of bodies) this.#push(batch, body);
    return batch;
  }

  #push(batch: Batch, body: Body): void {
    const { line, hash } = seal(batch.position, this.#writer, body);
    batch.text += `${line}\n`;
    batch.position = { seq: batch.position.seq + 1, hash };
  }

  #sign(batch: Batch, at: number): void {
    const signature = this.#options.signer.sign(checkpointStatement(this.#writer, batch.position));
    this.#push(batch, checkpointBody(batch.position.seq, signature, at));
  }

  async #write(segment: Segment, batch: Batch): Promise<void> {
    if (batch.text === "") return;
    const { files, durability } = this.#options;
    const data = Buffer.from(batch.text, "latin1"); // records are ASCII
    await writeAll(files, segment.fd, data);
    if (durability === "disk") await files.datasync(segment.fd);
    if (!files.linked(segment.fd)) throw new Error("the log's file was removed");
    segment.octets += data.length;
    this.#position = batch.position;
  }

  // One at a time, beside the batches: they do not wait for the head's sync.
  #refreshHead(): void {
    this.#headDue = true;
    this.#head ??= this.#runHead().finally(() => (this.#head = undefined));
  }

  async #runHead(): Promise<void> {
    try {
      while (this.#headDue && this.#segment !== undefined) {
        this.#headDue = false;
        const { fd } = this.#segment;
        const position = this.#position;
        // Synced first: after a power cut, the head must not claim more than the disk holds.
        if (this.#options.durability === "process") await this.#options.files.datasync(fd);
        await this.#writeHead(false, position);
      }
    } catch (error) {
      this.#options.onFailure(error);
    }
  }

  async #writeHead(closed: boolean, position = this.#position): Promise<void> {
    const { files, directory, signer, now } = this.#options;
    const text = formatHead(
      {
        ...position,
        writer: this.#writer,
        segment: this.#lastNumber,
        closed,
        at: new Date(now()).toISOString(),
      },
      signer,
    );
    const path = join(directory, HEAD_FILE);
    const fd = await files.open(`${path}.new`, "w", FILE_MODE);
    try {
      await writeAll(files, fd, Buffer.from(text));
      await files.datasync(fd);
    } finally {
      await files.close(fd);
    }
    await files.rename(`${path}.new`, path);
    await files.syncDirectory(dirname(path));
  }
}

type Batch = { text: string; position: Position };

const fstat = promisify(fstatCallback);

const FILE_MODE = 0o640;
export const DIRECTORY_MODE = 0o750;

async function isAt(path: string, fd: number): Promise<boolean> {
  const [named, opened] = await Promise.all([stat(path).catch(() => undefined), fstat(fd)]);
  return named?.ino === opened.ino && named.dev === opened.dev;
}

let lastDay = Number.NaN;
let lastDate = "";
/** The date, made once a day. */
function utcDay(at: number): string {
  const day = Math.floor(at / DAY_MS);
  if (day !== lastDay) {
    lastDate = new Date(at).toISOString().slice(0, 10);
    lastDay = day;
  }
  return lastDate;
}

const DAY_MS = 86_400_000;
