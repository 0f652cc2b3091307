// Where the log lies on disk: names of its files, and the few operations that write them. The port exists so that a
// test can fail the N-th operation; nothing here decides anything.

import * as fs from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** The operations that write; each may fail. */
export type FileSystem = {
  open(path: string, flags: string, mode: number): Promise<number>;
  /** Octets written; fewer than asked for is a short write. */
  write(fd: number, data: Uint8Array): Promise<number>;
  datasync(fd: number): Promise<void>;
  truncate(fd: number, octets: number): Promise<void>;
  close(fd: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes a new name in a directory last through a power cut. */
  syncDirectory(path: string): Promise<void>;
  /** False once the file was unlinked: writes would succeed and be lost. Answered from memory, so it never blocks. */
  linked(fd: number): boolean;
};

// Asynchronous, so that a stalled disk stalls no loop; measured in docs/decisions/0006-audit-log.md. The callback API,
// because FileHandle allocates more.
export const nodeFileSystem: FileSystem = {
  open: (path, flags, mode) => call((done) => fs.open(path, flags, mode, done)),
  write: (fd, data) => call((done) => fs.write(fd, data, done)),
  datasync: (fd) => call((done) => fs.fdatasync(fd, done)),
  truncate: (fd, octets) => call((done) => fs.ftruncate(fd, octets, done)),
  close: (fd) => call((done) => fs.close(fd, done)),
  rename: (from, to) => call((done) => fs.rename(from, to, done)),
  syncDirectory: async (path) => {
    const fd = await nodeFileSystem.open(path, "r", 0);
    try {
      await call<void>((done) => fs.fsync(fd, done));
    } finally {
      await nodeFileSystem.close(fd);
    }
  },
  linked: (fd) => fs.fstatSync(fd).nlink > 0,
};

/** Writes all of it, or throws: a disk that fills up first writes short, then fails. */
export async function writeAll(files: FileSystem, fd: number, data: Uint8Array): Promise<void> {
  let rest = data;
  while (rest.length > 0) {
    const written = await files.write(fd, rest);
    if (written <= 0) throw new Error("the file took no octets");
    rest = rest.subarray(written);
  }
}

export const HEAD_FILE = "audit.head";
export const KEY_FILE = "audit.key";
export const PUBLIC_KEY_FILE = "audit.pub";
export const LOCK_FILE = "audit.lock";

export type SegmentFile = { readonly number: number; readonly name: string; readonly path: string };

const SEGMENT = /^audit-(\d{8}T\d{6}Z)-(\d{6,})\.jsonl$/;

/** `audit-20261122T080000Z-000001.jsonl` */
export function segmentName(number: number, at: number): string {
  const time = new Date(at).toISOString().replace(/[-:]/g, "").replace(/\.\d+/, "");
  return `audit-${time}-${String(number).padStart(6, "0")}.jsonl`;
}

/** When it was begun, in milliseconds since the epoch, by its name. */
export function segmentTime({ name }: Pick<SegmentFile, "name">): number {
  const [, at = ""] = SEGMENT.exec(name) ?? [];
  return Date.parse(at.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
}

export function segmentFile(path: string): SegmentFile | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const match = SEGMENT.exec(name);
  return match === null ? undefined : { number: Number(match[2]), name, path };
}

/** In the order of their numbers: the clock may have been set back between two of them. */
export async function listSegments(directory: string): Promise<SegmentFile[]> {
  const found: SegmentFile[] = [];
  for (const name of await readdir(directory)) {
    const file = segmentFile(join(directory, name));
    if (file !== undefined) found.push(file);
  }
  return found.sort((a, b) => a.number - b.number);
}

function call<T>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error === null ? resolve(value as T) : reject(error)));
  });
}
