// How many DNS questions a source may ask: so many at once, so many a second; all sources together some times that. Time is
// a fact that the caller states. Each question leaves a record, so this is what bounds a flood of them.

import { parseNetwork } from "../net/address.ts";

export type DnsRate = {
  /** `false`: too many; nothing is to be said about it. */
  take(source: string, at: number): boolean;
};

export type DnsRateOptions = {
  readonly perSecond: number;
  readonly burst: number;
  /** Sources remembered; past it, the one that asked longest ago is forgotten. */
  readonly sources?: number;
};

export function createDnsRate({ perSecond, burst, sources = 10_000 }: DnsRateOptions): DnsRate {
  const all = new Bucket(perSecond * SHARES, burst * SHARES);
  const bySource = new Map<string, Bucket>();
  return {
    take(source, at) {
      const key = network(source);
      const bucket = bySource.get(key) ?? new Bucket(perSecond, burst);
      bySource.delete(key);
      bySource.set(key, bucket);
      if (bySource.size > sources) {
        for (const oldest of bySource.keys()) {
          bySource.delete(oldest);
          break;
        }
      }
      // A source that is over its own share takes nothing from the others'.
      return bucket.take(at) && all.take(at);
    },
  };
}

class Bucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #left: number;
  #at: number | undefined;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#left = burst;
  }

  take(at: number): boolean {
    const passed = Math.max(at - (this.#at ?? at), 0);
    this.#at = at;
    this.#left = Math.min(this.#left + (passed / 1000) * this.#perSecond, this.#burst);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** An IPv4 address is itself, also inside IPv6; of an IPv6 address the /64 counts, as all of it may be one machine's. */
function network(source: string): string {
  const bytes = parseNetwork(source)?.bytes;
  if (bytes === undefined) return "unknown";
  const text = bytes.join(".");
  if (bytes.length === 4) return text;
  return text.startsWith(MAPPED) ? text.slice(MAPPED.length) : bytes.subarray(0, 8).join(".");
}

const SHARES = 8;
const MAPPED = "0.0.0.0.0.0.0.0.0.0.255.255.";
