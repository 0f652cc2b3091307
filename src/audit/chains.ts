// The chains of one log: the directory's own, and one for each worker that ever wrote beside it. It only looks.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { HEAD_FILE, segmentFile } from "./files.ts";

export type Chain = {
  /** `worker-2`; empty for the directory's own. */
  readonly name: string;
  readonly directory: string;
};

/** The directory's own first, then the workers' in the order of their numbers; those only that hold something. */
export async function listChains(directory: string): Promise<Chain[]> {
  const names = await readdir(directory, { withFileTypes: true });
  const workers = names
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const number = WORKER.exec(name)?.[1];
      return number === undefined ? [] : [{ number: Number(number), name }];
    })
    .sort((a, b) => a.number - b.number)
    .map(({ name }) => ({ name, directory: join(directory, name) }));
  const chains = [{ name: "", directory }, ...workers];
  const held = await Promise.all(chains.map(({ directory: at }) => holdsChain(at)));
  return chains.filter((_chain, index) => held[index]);
}

export function workerChain(slot: number): string {
  return `worker-${slot}`;
}

async function holdsChain(directory: string): Promise<boolean> {
  const names = await readdir(directory);
  return names.some((name) => name === HEAD_FILE || segmentFile(name) !== undefined);
}

const WORKER = /^worker-(\d{1,4})$/;
