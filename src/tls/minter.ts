// Mints leaves for processes that have no issuer key: each once, whoever asks first, within the same bounds as for one
// process. It must hand out certificates only, never what signs them (invariant 7).

import { LRUCache } from "lru-cache";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { LEAF_KEPT_MS } from "./leaf-context.ts";
import { createMintShares, type MintShareLimits } from "./mint-shares.ts";
import { mintLeaf } from "./mint.ts";
import type { Issuer } from "./trust-anchor.ts";

/** A leaf as it crosses to another process. */
export type MintedLeaf = {
  readonly chainPem: string;
  /** Milliseconds since the epoch: it may be handed out from then, and until then. */
  readonly from: number;
  readonly until: number;
};

export type MinterOptions = MintShareLimits & {
  readonly issuer: Issuer;
  /** Most leaves held at once. */
  readonly max: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onMinted: () => void;
};

export type Minter = {
  /** Throws ProxyFault `mint-limit` when too many leaves are asked for at once. */
  readonly leafFor: (host: Host, asker: string) => MintedLeaf;
};

export function createMinter({ issuer, max, now, onMinted, ...limits }: MinterOptions): Minter {
  const held = new LRUCache<Host, MintedLeaf>({ max });
  const mayMint = createMintShares(limits);
  return {
    leafFor(host, asker) {
      const at = now();
      const known = held.get(host);
      if (known !== undefined && at >= known.from && at < known.until) return known;
      if (!mayMint(asker, at)) throw new ProxyFault("mint-limit");
      const { chainPem, notBefore, notAfter } = mintLeaf(issuer, host, at);
      const leaf = { chainPem, from: notBefore, until: Math.min(at + LEAF_KEPT_MS, notAfter) };
      held.set(host, leaf);
      onMinted();
      return leaf;
    },
  };
}
