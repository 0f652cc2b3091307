// Finds where the chain ended, at open: cuts off a torn last line (and keeps it aside), compares with the signed head,
// counts decisions that never completed. It must never drop a whole record.

import { createPublicKey, randomBytes } from "node:crypto";
import { copyFile, open, rename, stat, truncate, unlink } from "node:fs/promises";
import { join } from "node:path";
import { HEAD_FILE, listSegments, type SegmentFile } from "./files.ts";
import { parseHead, readOrUndefined, type Head } from "./keys.ts";
import { readId, readLines, readSealed } from "./lines.ts";
import { GENESIS, type Position, type Recovery } from "./record.ts";

export type Resumption = {
  readonly writer: string;
  readonly position: Position;
  /** The segment to go on with; `undefined` where a new one is due. */
  readonly segment: (SegmentFile & { readonly octets: number; readonly day: string }) | undefined;
  /** Number of the last segment that ever was. */
  readonly lastNumber: number;
  /** `undefined` after an orderly close, and in a new directory. */
  readonly found: Recovery | undefined;
};

/** Enough for the exchanges in flight; a count beyond it would be a guess. */
const OPEN_DECISIONS_MAX = 1_000_000;

export async function resume(directory: string, publicKeyPem: string): Promise<Resumption> {
  const headText = await readOrUndefined(join(directory, HEAD_FILE));
  const head = headText === undefined ? undefined : parseHead(headText, createPublicKey(publicKeyPem));
  const segments = await listSegments(directory);
  let torn: { tornOctets: number; tornFile: string } | undefined;
  for (let index = segments.length - 1; index >= 0; index--) {
    const file = segments[index] as SegmentFile;
    const tail = await scan(file);
    torn = (await cutTorn(file, tail)) ?? torn;
    if (tail.last === undefined) continue;
    const position = { seq: tail.last.seq, hash: tail.last.hash };
    const clean = torn === undefined && head?.closed === true && head.hash === position.hash;
    return {
      writer: tail.last.writer,
      position,
      segment: { ...file, octets: tail.end, day: tail.day },
      lastNumber: file.number,
      found: clean
        ? undefined
        : { cause: "open", ...torn, openDecisions: tail.open, ...compare(head, headText, position) },
    };
  }
  // No record is left. A head that says otherwise shows that they were removed: its chain goes on, with the gap on record.
  return {
    writer: head?.writer ?? randomBytes(9).toString("base64url"),
    position: head === undefined ? GENESIS : { seq: head.seq, hash: head.hash },
    segment: undefined,
    lastNumber: head === undefined || head.seq === 0 ? 0 : head.segment,
    found:
      (head === undefined || head.seq === 0) &&
      torn === undefined &&
      (headText === undefined || head !== undefined)
        ? undefined
        : {
            cause: "open",
            ...torn,
            missing: head?.seq ?? 0,
            head: head === undefined ? "invalid" : undefined,
          },
  };
}

function compare(
  head: Head | undefined,
  headText: string | undefined,
  { seq, hash }: Position,
): Partial<Recovery> {
  if (head === undefined) return { head: headText === undefined ? "missing" : "invalid" };
  if (head.seq > seq) return { missing: head.seq - seq };
  return head.seq === seq && head.hash !== hash ? { head: "invalid" } : {};
}

type Tail = {
  readonly last: { readonly seq: number; readonly hash: string; readonly writer: string } | undefined;
  /** End of the last whole record, and of the file. */
  readonly end: number;
  readonly size: number;
  readonly day: string;
  readonly open: number;
};

async function scan({ path }: SegmentFile): Promise<Tail> {
  const open = new Set<string>();
  let last: Tail["last"];
  let end = 0;
  let size = 0;
  let day = "";
  for await (const lines of readLines(path)) {
    for (const line of lines) {
      size = line.end;
      const sealed = line.complete ? readSealed(line.text) : undefined;
      if (sealed === undefined) continue;
      if (last === undefined) day = line.text.slice(line.text.indexOf('"at":"') + 6).slice(0, 10);
      last = sealed;
      end = line.end;
      if (sealed.type !== "decision" && sealed.type !== "completion") continue;
      const id = readId(line.text) ?? "";
      if (sealed.type === "completion") open.delete(id);
      else if (open.size < OPEN_DECISIONS_MAX) open.add(id);
    }
  }
  return { last, end, size: Math.max(size, (await stat(path)).size), day, open: open.size };
}

/** Keeps the torn octets in a file of their own, then cuts them off. A segment without any record goes away whole. */
async function cutTorn(
  file: SegmentFile,
  tail: Tail,
): Promise<{ tornOctets: number; tornFile: string } | undefined> {
  if (tail.last === undefined && tail.size === 0) {
    await unlink(file.path);
    return undefined;
  }
  if (tail.size === tail.end) return undefined;
  const name = `${file.name}.${tail.end}.torn`;
  const aside = `${file.path}.${tail.end}.torn`;
  if (tail.last === undefined) {
    await rename(file.path, aside);
  } else {
    await keepFrom(file.path, tail.end, aside);
    await truncate(file.path, tail.end);
  }
  return { tornOctets: tail.size - tail.end, tornFile: name };
}

async function keepFrom(path: string, offset: number, aside: string): Promise<void> {
  await copyFile(path, aside);
  const handle = await open(aside, "r+");
  try {
    // The aside holds the torn octets alone: moved to the front in pieces, so that memory stays flat.
    const piece = Buffer.alloc(64 * 1024);
    let written = 0;
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length, offset + written);
      if (bytesRead === 0) break;
      await handle.write(piece, 0, bytesRead, written);
      written += bytesRead;
    }
    await handle.truncate(written);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
