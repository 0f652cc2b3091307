// Takes whole old segments away from the beginning of a log's chains: never a chain's newest, and oldest first, so that what is left
// is whole whenever it stops.

import { stat, unlink } from "node:fs/promises";
import { listChains } from "./chains.ts";
import { listSegments, nodeFileSystem, segmentTime } from "./files.ts";

export type OldSegments = {
  /** `worker-2`; empty for the directory's own. */
  readonly chain: string;
  readonly directory: string;
  /** Paths, in order. */
  readonly files: readonly string[];
  /** Name of the last of them. */
  readonly through: string;
  readonly octets: number;
};

/** What was over before then, in milliseconds since the epoch, by chain: the next segment was begun by that time. */
export async function oldSegments(directory: string, before: number): Promise<OldSegments[]> {
  const found = (await listChains(directory)).map(async ({ name, directory: at }) => {
    const segments = await listSegments(at);
    const kept = segments.findIndex((_segment, index) => {
      const next = segments[index + 1];
      return next === undefined || segmentTime(next) > before;
    });
    const old = segments.slice(0, kept);
    const sizes = await Promise.all(old.map(async ({ path }) => (await stat(path)).size));
    return {
      chain: name,
      directory: at,
      files: old.map(({ path }) => path),
      through: old.at(-1)?.name ?? "",
      octets: sizes.reduce((sum, size) => sum + size, 0),
    };
  });
  return (await Promise.all(found)).filter(({ files }) => files.length > 0);
}

/** `mayGo` is asked before each, and throws where it is to stay. */
export async function removeSegments(
  { directory, files }: Pick<OldSegments, "directory" | "files">,
  mayGo: () => void,
): Promise<void> {
  for (const file of files) {
    mayGo();
    await unlink(file);
  }
  await nodeFileSystem.syncDirectory(directory);
}
