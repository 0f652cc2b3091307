// Hands out the TLS context for a host, minting its leaf where none is at hand. Bounded in size and in mintings per
// second, so that a sandbox cannot make it mint or hold without end.

import { constants, createHash, randomBytes } from "node:crypto";
import tls from "node:tls";
import { LRUCache } from "lru-cache";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { mintLeaf, type Leaf } from "./mint.ts";
import type { Issuer } from "./trust-anchor.ts";

export type LeafCacheOptions = {
  readonly issuer: Issuer;
  /** Most leaves held at once. */
  readonly max: number;
  /** Mintings that a quiet second earns one asker, and how many it may save up; all askers together, so many times that. */
  readonly mintsPerSecond: number;
  readonly mintBurst: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly on: { readonly minted: () => void; readonly hit: () => void };
  /** 48 bytes that seal session tickets; processes that share a listener must share them. Random by default. */
  readonly ticketKeys?: Buffer;
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
  const { issuer, now, on, ticketKeys = randomBytes(48) } = options;
  const held = new LRUCache<Host, Held>({ max: options.max });
  const { mintsPerSecond, mintBurst } = options;
  const all = tokenBucket(mintsPerSecond * ALL_ASKERS, mintBurst * ALL_ASKERS);
  const shares = new LRUCache<string, Bucket>({ max: ASKERS_MAX });
  const mayMint = (asker: string, at: number): boolean => {
    const share = shares.get(asker) ?? tokenBucket(mintsPerSecond, mintBurst);
    shares.set(asker, share);
    if (!share.filled(at) || !all.filled(at)) return false;
    share.take();
    all.take();
    return true;
  };
  return {
    contextFor(host, asker = "") {
      const at = now();
      const known = held.get(host);
      if (known && at >= known.from && at < known.until) {
        on.hit();
        return known.context;
      }
      if (!mayMint(asker, at)) throw new ProxyFault("mint-limit");
      const leaf = mintLeaf(issuer, host, at);
      const context = createContext(leaf, host, ticketKeys);
      held.set(host, { context, from: leaf.notBefore, until: Math.min(at + KEPT_MS, leaf.notAfter) });
      on.minted();
      return context;
    },
    size: () => held.size,
  };
}

/** A leaf is handed out from its notBefore (the clock may be set back) until it is renewed. */
type Held = { readonly context: tls.SecureContext; readonly from: number; readonly until: number };

function createContext(leaf: Leaf, host: Host, ticketKeys: Buffer): tls.SecureContext {
  return tls.createSecureContext({
    cert: leaf.chainPem,
    key: leaf.key.export({ type: "pkcs8", format: "pem" }),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    ciphers: CIPHERS,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ticketKeys,
    // The tickets of all hosts open with one key, so it is this that keeps a session to the name it was made for.
    sessionIdContext: createHash("sha256").update(host).digest("hex").slice(0, 32),
    sessionTimeout: SESSION_SECONDS,
  });
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
const KEPT_MS = 86_400_000;
const SESSION_SECONDS = 3600;
/** Forward secret and authenticated only; leaves are ECDSA, so suites that sign with RSA would never be chosen. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
].join(":");
