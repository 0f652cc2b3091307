// How many leaves may be minted, by one asker and by all together, so that a sandbox's flood of names leaves the others
// theirs. Time is a fact that the caller states.

import { LRUCache } from "lru-cache";

export type MintShareLimits = {
  /** Mintings that a quiet second earns one asker, and how many it may save up; all askers together, so many times that. */
  readonly mintsPerSecond: number;
  readonly mintBurst: number;
};

/** True where `asker` may mint one more, which it is then taken to do. */
export function createMintShares({
  mintsPerSecond,
  mintBurst,
}: MintShareLimits): (asker: string, at: number) => boolean {
  const all = tokenBucket(mintsPerSecond * ALL_ASKERS, mintBurst * ALL_ASKERS);
  const shares = new LRUCache<string, Bucket>({ max: ASKERS_MAX });
  return (asker, at) => {
    const share = shares.get(asker) ?? tokenBucket(mintsPerSecond, mintBurst);
    shares.set(asker, share);
    if (!share.filled(at) || !all.filled(at)) return false;
    share.take();
    all.take();
    return true;
  };
}

type Bucket = {
  /** There is a token by now. */
  filled(at: number): boolean;
  take(): void;
};

function tokenBucket(perSecond: number, burst: number): Bucket {
  let tokens = burst;
  let last = -Infinity;
  return {
    filled(at) {
      if (last !== -Infinity) tokens = Math.min(burst, tokens + (Math.max(0, at - last) / 1000) * perSecond);
      last = at;
      return tokens >= 1;
    },
    take: () => void tokens--,
  };
}

/** What all askers together may mint, in shares. */
const ALL_ASKERS = 8;
const ASKERS_MAX = 4_096;
