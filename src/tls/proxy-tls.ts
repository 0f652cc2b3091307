// What sandboxes that connect to the proxy by TLS are shown: a leaf of the trust anchor for each name of the proxy, or the
// operator's own certificate. It answers to no other name.

import { constants, createHash, X509Certificate } from "node:crypto";
import tls from "node:tls";
import type { Host } from "../net/host.ts";

/** PEM, as read. */
export type ProxyTlsFiles = {
  /** The operator's own, with its chain. */
  readonly certificate: { readonly cert: string; readonly key: string } | undefined;
  /** What client certificates must be issued by; without it none are asked for. */
  readonly clientCa: string | undefined;
};

/** A leaf for one of the proxy's names, to be shown until then. */
export type ProxyLeaf = { readonly chainPem: string; readonly keyPem: string; readonly until: number };

export type ProxyTlsOptions = ProxyTlsFiles & {
  /** Where there is no certificate of the operator's own. */
  readonly leafFor: (name: Host) => ProxyLeaf | Promise<ProxyLeaf>;
  readonly names: readonly Host[];
  readonly clientCertificates: "optional" | "required";
  /** 48 octets that seal session tickets. */
  readonly ticketKeys: Buffer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

export type ProxyTls = {
  /** For a server name, or none; `undefined`: that is not one of this proxy's. */
  readonly contextFor: (name: Host | undefined) => Promise<tls.SecureContext | undefined>;
  readonly clientCertificates: "none" | "optional" | "required";
};

/** Throws where the certificate, its key or the authority cannot be used. */
export function createProxyTls(options: ProxyTlsOptions): ProxyTls {
  const { leafFor, names, certificate, clientCa, ticketKeys, now } = options;
  if (clientCa !== undefined) checkAuthorities(clientCa);
  const own =
    certificate && createContext({ ...certificate, clientCa, ticketKeys, session: certificate.cert });
  const held = new Map<Host, { readonly context: tls.SecureContext; readonly until: number }>();
  return {
    async contextFor(asked) {
      const name = asked ?? names[0]!;
      if (!names.includes(name)) return undefined;
      if (own !== undefined) return own;
      const at = now();
      const known = held.get(name);
      if (known !== undefined && at < known.until) return known.context;
      const { chainPem, keyPem, until } = await leafFor(name);
      // By the name: every process mints a leaf of its own for it.
      const session = `proxy ${name}`;
      const context = createContext({ cert: chainPem, key: keyPem, clientCa, ticketKeys, session });
      held.set(name, { context, until });
      return context;
    },
    clientCertificates: clientCa === undefined ? "none" : options.clientCertificates,
  };
}

/** OpenSSL passes over what it cannot read, and would then trust less than was meant without a word. */
function checkAuthorities(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error("tls.client_ca holds no certificate");
  for (const block of blocks) void new X509Certificate(block);
}

type ContextOptions = {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  readonly ticketKeys: Buffer;
  /** What a session is kept to: the tickets of all contexts open with one key. */
  readonly session: string;
};

function createContext({ cert, key, clientCa, ticketKeys, session }: ContextOptions): tls.SecureContext {
  // A ticket would bring back a client certificate that was verified by an authority of before.
  const tickets = clientCa === undefined ? 0 : constants.SSL_OP_NO_TICKET;
  return tls.createSecureContext({
    cert,
    key,
    ...(clientCa !== undefined && { ca: clientCa }),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    ciphers: CIPHERS,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | tickets,
    ticketKeys,
    sessionIdContext: createHash("sha256").update(session).digest("hex").slice(0, 32),
  });
}

/** Forward secret and authenticated only; an operator's own certificate may be an RSA one. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
