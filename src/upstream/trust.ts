// What an origin must prove: the trust anchors, the strength of keys and signatures, the names, and the revocation lists.
// Never a name from the subject, never a wildcard beyond one whole label, never less than TLS 1.2 (invariant 6).

import { constants, createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, getCACertificates } from "node:tls";
import type { SecureContext } from "node:tls";

import { ProxyFault } from "../net/fault.ts";
import { isAddressLiteral } from "../net/host.ts";
import type { Host } from "../net/host.ts";
import { issuerAndSerial, parseCrls } from "./crl.ts";
import type { Crl } from "./crl.ts";

export type Trust = {
  readonly context: SecureContext;
  /** Changes with the anchors and the lists; a TLS session stands under one generation only. */
  readonly generation: string;
  /** Number of distinct trust anchors. */
  readonly anchors: number;
  readonly crls: readonly Crl[];
  /** The trust anchors that this certificate names as its issuer; whose signature it bears is not looked at. */
  issuersOf(certificate: X509Certificate): readonly X509Certificate[];
};

export type TrustOptions = {
  /** `system`, `bundled` (Node's own copy of Mozilla's list), or files in PEM. */
  readonly trust: readonly string[];
  /** Revocation lists, PEM or DER; each speaks for its own issuer only. */
  readonly crlFiles?: readonly string[];
};

/** What was read, as it crosses to another process: a file that changes meanwhile makes no difference between them. */
export type TrustMaterial = {
  readonly anchors: readonly string[];
  readonly lists: readonly { readonly file: string; readonly content: Uint8Array }[];
};

/** Reads everything once; throws an error that names the file at fault. */
export function createTrust(options: TrustOptions): Trust {
  return trustIn(readTrust(options));
}

export function readTrust({ trust, crlFiles = [] }: TrustOptions): TrustMaterial {
  refuseDuplicates("trust", trust);
  refuseDuplicates("crlFiles", crlFiles);
  const anchors = [...new Set(trust.flatMap(anchorsOf))];
  if (anchors.length === 0)
    throw new Error("upstream.trust: no trust anchor, so no origin could be verified");
  return { anchors, lists: crlFiles.map((file) => ({ file, content: readNamed(file, "crlFiles") })) };
}

export function trustIn({ anchors, lists }: TrustMaterial): Trust {
  const digest = createHash("sha256");
  for (const part of [...anchors, ...lists.map(({ content }) => content)]) digest.update(part);
  return {
    context: createSecureContext({
      ca: [...anchors],
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    }),
    generation: digest.digest("base64url"),
    anchors: anchors.length,
    issuersOf: issuersAmong(anchors),
    crls: lists.flatMap(({ file, content }) =>
      named(file, "crlFiles", () => parseCrls(Buffer.from(content))),
    ),
  };
}

/** What a reload reads and finds unchanged is never asked: the index is made for the first handshake. */
function issuersAmong(anchors: readonly string[]): Trust["issuersOf"] {
  let bySubject: ReadonlyMap<string, readonly X509Certificate[]> | undefined;
  return (certificate) => {
    bySubject ??= Map.groupBy(
      anchors.map((pem) => new X509Certificate(pem)),
      ({ subject }) => folded(subject),
    );
    const named = bySubject.get(folded(certificate.issuer)) ?? [];
    return named.filter((anchor) => certificate.checkIssued(anchor));
  };
}

/** OpenSSL looks at neither case nor spaces of a name (RFC 5280 §7.1); Node writes some with a backslash. No finer than that. */
const folded = (name: string): string => name.toLowerCase().replaceAll(/[\s\\]/g, "");

/**
 * Whether the certificate names this host: from its subject alternative names alone, IP names for literals. A wildcard
 * is a whole left-most label, stands for one label, and has two labels or more to its right.
 */
export function checkOriginIdentity(host: Host, certificate: X509Certificate): ProxyFault | undefined {
  const matched = isAddressLiteral(host)
    ? certificate.checkIP(host)
    : certificate.checkHost(host, { subject: "never", partialWildcards: false });
  return matched === undefined ? new ProxyFault("certificate-name-mismatch") : undefined;
}

/** The keys and lists that OpenSSL leaves to its caller. `chain` runs from the origin's certificate towards the anchor. */
export function checkChain(
  trust: Trust,
  chain: readonly X509Certificate[],
  at: number,
): ProxyFault | undefined {
  if (chain.some((certificate) => !strongKey(certificate))) return new ProxyFault("certificate-weak");
  if (trust.crls.length === 0) return undefined;
  for (const certificate of chain) {
    const { serial } = issuerAndSerial(certificate.raw);
    const lists = listsFor(trust, certificate);
    if (lists.some((crl) => crl.serials.has(serial))) return new ProxyFault("certificate-revoked");
    // A list that has run out may lack the newest revocations: fail closed.
    if (endOf(lists) < at)
      return new ProxyFault("certificate-invalid", new Error("the issuer's revocation list has expired"));
  }
  return undefined;
}

/** When the first of the certificates and of the lists that speak of them runs out. */
export function validUntil(trust: Trust, chain: readonly X509Certificate[]): number {
  return Math.min(
    ...chain.flatMap((certificate) => [
      certificate.validToDate.getTime(),
      endOf(listsFor(trust, certificate)),
    ]),
  );
}

function listsFor({ crls }: Trust, certificate: X509Certificate): readonly Crl[] {
  if (crls.length === 0) return [];
  const { issuer } = issuerAndSerial(certificate.raw);
  return crls.filter((crl) => crl.issuer === issuer);
}

/** The newest list counts. */
const endOf = (lists: readonly Crl[]): number =>
  lists.length === 0 ? Infinity : Math.max(...lists.map(({ nextUpdate }) => nextUpdate ?? Infinity));

/** Whether a chain that OpenSSL refused without naming the cause has a key or a signature that is too weak. */
export function isWeak(chain: readonly X509Certificate[]): boolean {
  return chain.some(
    (certificate) =>
      !strongKey(certificate) ||
      // The anchor's own signature proves nothing and is not judged.
      (certificate.subject !== certificate.issuer &&
        WEAK_SIGNATURE.test(certificate.signatureAlgorithm ?? "")),
  );
}

function strongKey({ publicKey }: X509Certificate): boolean {
  const { modulusLength = 0, namedCurve = "" } = publicKey.asymmetricKeyDetails ?? {};
  switch (publicKey.asymmetricKeyType) {
    case "rsa":
    case "rsa-pss":
      return modulusLength >= 2048;
    case "ec":
      return STRONG_CURVES.has(namedCurve);
    case "ed25519":
    case "ed448":
      return true;
    default:
      return false;
  }
}

function anchorsOf(source: string): string[] {
  switch (source) {
    case "system":
      return systemAnchors();
    case "bundled":
      return getCACertificates("bundled").map(normalise);
    default: {
      const blocks = pemBlocks(readNamed(source, "trust").toString("latin1"));
      if (blocks.length === 0) throw new Error(`upstream.trust: ${source}: holds no certificate in PEM`);
      return named(source, "trust", () =>
        blocks.map((block) => normalise(new X509Certificate(block).toString())),
      );
    }
  }
}

/**
 * Node finds the system's store by OpenSSL's built-in path and SSL_CERT_FILE/SSL_CERT_DIR, which misses some
 * distributions; their usual bundle is read as well. NODE_EXTRA_CA_CERTS counts as the system's.
 */
function systemAnchors(): string[] {
  const found = [...getCACertificates("system"), ...getCACertificates("extra")];
  for (const file of SYSTEM_BUNDLES) {
    try {
      found.push(...pemBlocks(readFileSync(file, "latin1")));
      break;
    } catch {
      // Not this distribution's path.
    }
  }
  return [...new Set(found.map(normalise))].filter(isCertificate);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

/** One spelling for one certificate, so that the stores' overlap is counted and parsed once. */
const normalise = (pem: string): string =>
  `-----BEGIN CERTIFICATE-----\n${pem.replace(/-----[^-]+-----|\s/g, "").replace(/.{1,64}/g, "$&\n")}-----END CERTIFICATE-----\n`;

const pemBlocks = (text: string): string[] => text.match(PEM_CERTIFICATE) ?? [];

function refuseDuplicates(key: string, values: readonly string[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice !== undefined) throw new Error(`upstream.${key}: ${twice} is named twice`);
}

const readNamed = (file: string, key: string): Buffer => named(file, key, () => readFileSync(file));

function named<T>(file: string, key: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`upstream.${key}: ${file}: ${error instanceof Error ? error.message : "unreadable"}`, {
      cause: error,
    });
  }
}

/** Forward secrecy only; level 2 asks for RSA-2048, P-224 and SHA-2 throughout the chain (`strongKey` for P-256). */
const CIPHERS = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  "ECDHE+AESGCM",
  "ECDHE+CHACHA20",
  "DHE+AESGCM",
  "DHE+CHACHA20",
  "ECDHE+AES",
  "!aNULL",
  "!PSK",
  "!SRP",
  "@SECLEVEL=2",
].join(":");
const STRONG_CURVES: ReadonlySet<string> = new Set(["prime256v1", "secp384r1", "secp521r1"]);
const WEAK_SIGNATURE = /sha-?1\b|md[245]/i;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];
