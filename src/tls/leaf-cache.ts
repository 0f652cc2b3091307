// Hands out the TLS context for a host, minting its leaf where none is at hand. Bounded in size and in mintings per
// second, so that a sandbox cannot make it mint or hold without end.

import type tls from "node:tls";
import { LRUCache } from "lru-cache";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { leafContexts, LEAF_KEPT_MS } from "./leaf-context.ts";
import { createMintShares, type MintShareLimits } from "./mint-shares.ts";
import { mintLeaf } from "./mint.ts";
import type { Issuer } from "./trust-anchor.ts";

export type LeafCacheOptions = MintShareLimits & {
  readonly issuer: Issuer;
  /** Most leaves held at once. */
  readonly max: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly on: { readonly minted: () => void; readonly hit: () => void };
  /** The 48 octets that seal session tickets now; whoever is to resume another's sessions shares them. */
  readonly ticketKeys: () => Buffer;
};

export type LeafCache = {
  /**
   * Throws ProxyFault `mint-limit` when too many leaves are asked for at once. `asker`: whose share it is, so that one
   * sandbox's flood of names leaves the others theirs.
   */
  readonly contextFor: (host: Host, asker?: string) => tls.SecureContext;
  readonly size: () => number;
};

export function createLeafCache(options: LeafCacheOptions): LeafCache {
  const { issuer, now, on, ticketKeys } = options;
  const held = new LRUCache<Host, Held>({ max: options.max });
  const mayMint = createMintShares(options);
  // One key for all leaves: written out once, since that costs as much as a signature.
  const keyPem = issuer.leafKey.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return {
    contextFor(host, asker = "") {
      const at = now();
      const known = held.get(host);
      if (known && at >= known.from && at < known.until) {
        on.hit();
        return known.contextUnder(ticketKeys());
      }
      if (!mayMint(asker, at)) throw new ProxyFault("mint-limit");
      const leaf = mintLeaf(issuer, host, at);
      const contextUnder = leafContexts({ chainPem: leaf.chainPem, keyPem, host });
      const context = contextUnder(ticketKeys());
      const until = Math.min(at + LEAF_KEPT_MS, leaf.notAfter);
      held.set(host, { contextUnder, from: leaf.notBefore, until });
      on.minted();
      return context;
    },
    size: () => held.size,
  };
}

/** A leaf is handed out from its notBefore (the clock may be set back) until it is renewed. */
type Held = {
  readonly contextUnder: ReturnType<typeof leafContexts>;
  readonly from: number;
  readonly until: number;
};
