// A rule's expiry is no event: what it allowed is judged again in time. Nothing else changes by time alone, so what is under way is
// not looked through for nothing.

import type { Live } from "../proxy/live.ts";
import type { Published } from "../proxy/parts.ts";

/** To be called every now and then. */
export function expiryWatch(live: Live, current: () => Published, now: () => number = Date.now): () => void {
  let judgedAt = now();
  return () => {
    const at = now();
    const published = current();
    if (published.snapshot.expiries.some((expiry) => expiry > judgedAt && expiry <= at))
      live.rejudge(published);
    judgedAt = at;
  };
}
