// TLS sessions with origins, kept to shorten the next handshake. Only what was verified in full is kept, for one host,
// port and trust generation, and no longer than what it was verified by holds.

import { LRUCache } from "lru-cache";

export type Session = {
  readonly ticket: Buffer;
  /** Milliseconds since the epoch: when the first of the chain's certificates or revocation lists runs out. */
  readonly until: number;
};

export type Sessions = {
  /** The newest one; many origins give no new ticket to a resumed connection, so it is not used up. */
  get(key: string): Session | undefined;
  put(key: string, session: Session): void;
  /** After a handshake that failed with it. */
  drop(key: string): void;
};

export function createSessions({ max = 1000, maxAgeMs = 3_600_000, clock = Date.now } = {}): Sessions {
  const cache = new LRUCache<string, Session>({ max, ttl: maxAgeMs });
  return {
    get: (key) => {
      const session = cache.get(key);
      return session !== undefined && clock() < session.until ? session : undefined;
    },
    put: (key, session) => void cache.set(key, session),
    drop: (key) => void cache.delete(key),
  };
}
