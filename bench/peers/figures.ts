// What rounds come to: medians, and ratios that a machine's moods do not move.

import type { Memory } from "./processes.ts";

export type Row = {
  readonly peer: string;
  /** Medians. CPU is microseconds a request, or seconds per GiB. */
  readonly cpu: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** The CPU of each round. */
  readonly rounds: readonly number[];
  /** When the rounds are over. */
  readonly memory: Memory;
};

/** The median of the ratios of rounds that ran one after the other: what slows the machine for a while slows both. */
export function ratioOf(ours: Row, theirs: Row): number {
  return median(ours.rounds.map((cpu, round) => cpu / (theirs.rounds[round] ?? Number.NaN)));
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}
