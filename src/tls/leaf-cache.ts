// Hands out the TLS context for a host, minting its leaf where none is at hand. Bounded in size and in mintings per
// second, so that a sandbox cannot make it mint or hold without end.

import { createHash, randomBytes } from "node:crypto";
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
  /** Mintings that a quiet second earns, and how many may be saved up. */
  readonly mintsPerSecond: number;
  readonly mintBurst: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly on: { readonly minted: () => void; readonly hit: () => void };
  /** 48 bytes that seal session tickets; processes that share a listener must share them. Random by default. */
  readonly ticketKeys?: Buffer;
};

export type LeafCache = {
  /** Throws ProxyFault `mint-limit` when too many leaves are asked for at once. */
  readonly contextFor: (host: Host) => tls.SecureContext;
  readonly size: () => number;
};

export function createLeafCache(options: LeafCacheOptions): LeafCache {
  const { issuer, now, on, ticketKeys = randomBytes(48) } = options;
  const held = new LRUCache<Host, Held>({ max: options.max });
  const takeToken = tokenBucket(options.mintsPerSecond, options.mintBurst);
  return {
    contextFor(host) {
      const at = now();
      const known = held.get(host);
      if (known && at >= known.from && at < known.until) {
        on.hit();
        return known.context;
      }
      if (!takeToken(at)) throw new ProxyFault("mint-limit");
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
    ticketKeys,
    // The tickets of all hosts open with one key, so it is this that keeps a session to the name it was made for.
    sessionIdContext: createHash("sha256").update(host).digest("hex").slice(0, 32),
    sessionTimeout: SESSION_SECONDS,
  });
}

function tokenBucket(perSecond: number, burst: number): (at: number) => boolean {
  let tokens = burst;
  let last = -Infinity;
  return (at) => {
    if (last !== -Infinity) tokens = Math.min(burst, tokens + (Math.max(0, at - last) / 1000) * perSecond);
    last = at;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

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
