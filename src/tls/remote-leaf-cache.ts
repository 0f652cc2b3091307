// Hands out the TLS context for a host in a process that has no issuer key: what it does not hold is asked of whoever
// mints. Where no answer comes, nothing is handed out.

import type tls from "node:tls";
import { LRUCache } from "lru-cache";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { leafContexts } from "./leaf-context.ts";
import type { MintedLeaf } from "./minter.ts";

export type RemoteLeafCacheOptions = {
  /** The pair's key that all leaves are made for; PKCS#8 PEM. */
  readonly keyPem: string;
  /** As in leaf-cache.ts. */
  readonly ticketKeys: () => Buffer;
  /** Most contexts held at once. */
  readonly max: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Settles within a bound; rejects with a ProxyFault. */
  readonly ask: (host: Host, asker: string) => Promise<MintedLeaf>;
  readonly on: { readonly hit: () => void; readonly entries: (held: number) => void };
};

export type RemoteLeafCache = {
  /** At once where the leaf is held. */
  readonly contextFor: (host: Host, asker: string) => tls.SecureContext | Promise<tls.SecureContext>;
};

export function createRemoteLeafCache(options: RemoteLeafCacheOptions): RemoteLeafCache {
  const { keyPem, ticketKeys, now, ask, on } = options;
  const held = new LRUCache<Host, Held>({ max: options.max });
  /** One question for one host of one asker, however many wait: another's answer may be that its share is spent. */
  const asked = new Map<string, Promise<tls.SecureContext>>();

  async function fetch(host: Host, asker: string): Promise<tls.SecureContext> {
    const { chainPem, from, until } = await ask(host, asker);
    const contextUnder = leafContexts({ chainPem, keyPem, host });
    held.set(host, { contextUnder, from, until });
    on.entries(held.size);
    return contextUnder(ticketKeys());
  }

  return {
    contextFor(host, asker) {
      const at = now();
      const known = held.get(host);
      if (known !== undefined && at >= known.from && at < known.until) {
        on.hit();
        return known.contextUnder(ticketKeys());
      }
      const question = `${host} ${asker}`;
      const waiting = asked.get(question);
      if (waiting !== undefined) return waiting;
      if (asked.size >= ASKED_MAX) throw new ProxyFault("mint-limit");
      const answer = fetch(host, asker).finally(() => asked.delete(question));
      asked.set(question, answer);
      return answer;
    },
  };
}

type Held = {
  readonly contextUnder: ReturnType<typeof leafContexts>;
  readonly from: number;
  readonly until: number;
};

const ASKED_MAX = 4_096;
