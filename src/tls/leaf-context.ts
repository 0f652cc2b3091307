// The TLS context of one leaf: what sandboxes are offered, and how their sessions are resumed. It knows no issuer, so that
// a process without the issuer's key can make one.

import { constants, createHash } from "node:crypto";
import tls from "node:tls";
import type { Host } from "../net/host.ts";

type LeafContextOptions = {
  /** The leaf, then those above it that sandboxes do not hold. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly host: Host;
  /** 48 bytes that seal session tickets; processes that share a listener must share them. */
  readonly ticketKeys: Buffer;
};

/** Made anew where the keys of tickets have changed since: the leaf stays, and nothing is minted for that. */
export function leafContexts(
  leaf: Omit<LeafContextOptions, "ticketKeys">,
): (ticketKeys: Buffer) => tls.SecureContext {
  let made: { readonly ticketKeys: Buffer; readonly context: tls.SecureContext } | undefined;
  return (ticketKeys) => {
    if (made?.ticketKeys !== ticketKeys)
      made = { ticketKeys, context: createLeafContext({ ...leaf, ticketKeys }) };
    return made.context;
  };
}

function createLeafContext({ chainPem, keyPem, host, ticketKeys }: LeafContextOptions): tls.SecureContext {
  return tls.createSecureContext({
    cert: chainPem,
    key: keyPem,
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

/** How long a leaf is handed out, at most, before it is renewed. */
export const LEAF_KEPT_MS = 86_400_000;
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
