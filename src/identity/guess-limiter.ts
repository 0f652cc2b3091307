// Slows the guessing of credentials: after some wrong ones, a source address waits, each time twice as long. Time is a fact that
// the caller states. Right credentials do not clear a source, as a sandbox that guesses at another's has its own to mix in.

import { unmapped } from "../net/address.ts";

export type GuessLimits = {
  /** Wrong credentials that a source may send before it waits. */
  readonly attempts: number;
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** Without a wrong guess for so long, a source starts anew. */
  readonly forgetMs: number;
  /** Sources remembered; past it, the one whose last wrong guess is oldest is forgotten. */
  readonly sources: number;
};

export type GuessLimiter = {
  /**
   * Milliseconds until credentials from this source are looked at again, 0 for now. While it is above 0, answer `credentials-wrong`
   * without looking; requests without credentials, and those already known on their connection, are not concerned.
   */
  waitMs(source: string, at: number): number;
  /** Credentials from this source were looked at and were wrong. */
  failure(source: string, at: number): void;
};

export function createGuessLimiter(limits: Partial<GuessLimits> = {}): GuessLimiter {
  const { attempts, firstWaitMs, longestWaitMs, forgetMs, sources } = { ...DEFAULT_GUESS_LIMITS, ...limits };
  const seen = new Map<string, { failures: number; last: number; until: number }>();
  const recall = (key: string, at: number) => {
    const entry = seen.get(key);
    return entry !== undefined && at - entry.last < forgetMs ? entry : undefined;
  };

  return {
    waitMs(source, at) {
      const until = recall(network(source), at)?.until ?? 0;
      // Bounded also where the clock was set back.
      return Math.min(Math.max(until - at, 0), longestWaitMs);
    },
    failure(source, at) {
      const key = network(source);
      const failures = (recall(key, at)?.failures ?? 0) + 1;
      const doublings = Math.min(failures - attempts, 30);
      const wait = doublings < 0 ? 0 : Math.min(firstWaitMs * 2 ** doublings, longestWaitMs);
      seen.delete(key);
      seen.set(key, { failures, last: at, until: at + wait });
      if (seen.size <= sources) return;
      for (const oldest of seen.keys()) {
        seen.delete(oldest);
        return;
      }
    },
  };
}

/** An IPv4 address is itself; of an IPv6 address the /64 counts, as all of it may be one machine's. */
function network(source: string): string {
  const plain = unmapped(source);
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = source.split("::");
  const groups = head.split(":");
  const zeros = tail === undefined ? [] : ["0", "0", "0", "0"];
  return [...groups, ...zeros].slice(0, 4).join(":");
}

const DEFAULT_GUESS_LIMITS: GuessLimits = {
  attempts: 10,
  firstWaitMs: 1_000,
  longestWaitMs: 60_000,
  forgetMs: 600_000,
  sources: 10_000,
};
