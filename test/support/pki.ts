// A certificate authority for tests: makes good certificates and every kind of bad one, without the openssl program.
// It writes DER itself, because a library refuses to make most of the oddities that the tests need.

import { createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { isIP } from "node:net";

export type KeyKind = "p256" | "p224" | "rsa2048" | "rsa1024";
export type Hash = "sha256" | "sha1";

export type CertificateOptions = {
  /** Subject's common name. */
  readonly commonName?: string;
  /** Subject alternative names; address literals become IP names. Empty or absent: no such extension. */
  readonly names?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly key?: KeyKind;
  readonly hash?: Hash;
  /** basicConstraints CA:TRUE and keyCertSign. */
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** DNS subtrees, for an authority. */
  readonly permitted?: readonly string[];
  readonly excluded?: readonly string[];
  readonly usage?: "serverAuth" | "clientAuth";
  /** Subject key identifier, where two keys are to claim the same. */
  readonly keyId?: Buffer;
  /** A critical extension that nobody knows. */
  readonly unknownCritical?: boolean;
};

export type Issued = {
  /** PEM of the certificate alone. */
  readonly cert: string;
  /** PEM of the certificate and of every issuer below the root: what a server sends. */
  readonly chain: string;
  /** PKCS#8 PEM. */
  readonly key: string;
  readonly x509: X509Certificate;
  issue(options: CertificateOptions): Issued;
  crl(options: { revoked: readonly Issued[]; thisUpdate?: Date; nextUpdate?: Date; hash?: Hash }): string;
};

/** A self-signed authority. Made anew for each call: nothing is kept between test files. */
export function createCa(options: CertificateOptions = {}): Issued {
  return make({ commonName: "Sallyport Test Root", ca: true, ...options }, undefined);
}

/** A self-signed end-entity certificate. */
export function createSelfSigned(options: CertificateOptions): Issued {
  return make(options, undefined);
}

type Signer = { name: Buffer; key: KeyObject; keyId: Buffer; chain: string; root: boolean };

function make(options: CertificateOptions, issuer: Signer | undefined): Issued {
  const key = newKey(options.key ?? "p256");
  const spki = key.publicKey.export({ type: "spki", format: "der" });
  const subject = distinguishedName(options.commonName ?? options.names?.[0] ?? "unnamed");
  const keyId = options.keyId ?? randomBytes(20);
  const signer = issuer ?? { name: subject, key: key.privateKey, keyId, chain: "", root: true };
  const serial = Buffer.concat([Buffer.from([0x40]), randomBytes(15)]);
  const hash = options.hash ?? "sha256";
  const tbs = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    signatureAlgorithm(signer.key, hash),
    signer.name,
    sequence(
      time(options.notBefore ?? new Date(Date.now() - DAY)),
      time(options.notAfter ?? new Date(Date.now() + 30 * DAY)),
    ),
    subject,
    spki,
    explicit(3, sequence(...extensions(options, keyId, signer.keyId))),
  );
  const cert = pem("CERTIFICATE", signed(tbs, signer.key, hash));
  const chain = issuer === undefined || issuer.root ? cert : cert + issuer.chain;
  const self: Signer = { name: subject, key: key.privateKey, keyId, chain, root: issuer === undefined };
  return {
    cert,
    chain,
    key: key.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    x509: new X509Certificate(cert),
    issue: (leaf) => make(leaf, self),
    crl: (list) => makeCrl(self, list),
  };
}

function makeCrl(issuer: Signer, options: Parameters<Issued["crl"]>[0]): string {
  const hash = options.hash ?? "sha256";
  const thisUpdate = options.thisUpdate ?? new Date(Date.now() - DAY);
  const entries = options.revoked.map(({ x509 }) =>
    sequence(integer(Buffer.from(x509.serialNumber, "hex")), time(thisUpdate)),
  );
  const tbs = sequence(
    integer(Buffer.from([1])),
    signatureAlgorithm(issuer.key, hash),
    issuer.name,
    time(thisUpdate),
    time(options.nextUpdate ?? new Date(Date.now() + 30 * DAY)),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    explicit(0, sequence(extension(OID.crlNumber, false, integer(Buffer.from([1]))))),
  );
  return pem("X509 CRL", signed(tbs, issuer.key, hash));
}

function extensions(options: CertificateOptions, keyId: Buffer, issuerKeyId: Buffer): Buffer[] {
  const list = [
    extension(OID.subjectKeyId, false, der(0x04, keyId)),
    extension(OID.authorityKeyId, false, sequence(der(0x80, issuerKeyId))),
    extension(OID.basicConstraints, true, basicConstraints(options)),
    // keyCertSign and cRLSign, or digitalSignature
    extension(OID.keyUsage, true, der(0x03, Buffer.from(options.ca ? [1, 0x06] : [7, 0x80]))),
  ];
  if (!options.ca)
    list.push(extension(OID.extKeyUsage, false, sequence(oid(OID[options.usage ?? "serverAuth"]))));
  if (options.names !== undefined && options.names.length > 0)
    list.push(extension(OID.subjectAltName, false, sequence(...options.names.map(generalName))));
  if (options.permitted !== undefined || options.excluded !== undefined)
    list.push(extension(OID.nameConstraints, true, nameConstraints(options)));
  if (options.unknownCritical) list.push(extension("1.3.6.1.4.1.99999.1", true, der(0x05, Buffer.alloc(0))));
  return list;
}

function basicConstraints({ ca, pathLength }: CertificateOptions): Buffer {
  if (!ca) return sequence();
  const yes = der(0x01, Buffer.from([0xff]));
  return pathLength === undefined ? sequence(yes) : sequence(yes, integer(Buffer.from([pathLength])));
}

function nameConstraints({ permitted = [], excluded = [] }: CertificateOptions): Buffer {
  const subtrees = (names: readonly string[]) => names.map((name) => sequence(der(0x82, Buffer.from(name))));
  const parts: Buffer[] = [];
  if (permitted.length > 0) parts.push(der(0xa0, Buffer.concat(subtrees(permitted))));
  if (excluded.length > 0) parts.push(der(0xa1, Buffer.concat(subtrees(excluded))));
  return sequence(...parts);
}

function generalName(name: string): Buffer {
  const family = isIP(name);
  if (family === 0) return der(0x82, Buffer.from(name, "latin1"));
  return der(0x87, family === 4 ? Buffer.from(name.split(".").map(Number)) : ipv6Bytes(name));
}

function ipv6Bytes(text: string): Buffer {
  const [head = "", tail] = text.split("::");
  const groups = (part: string | undefined) => (part ? part.split(":") : []);
  const [left, right] = [groups(head), groups(tail)];
  const zeros: string[] = Array.from({ length: 8 - left.length - right.length }, () => "0");
  const all = tail === undefined ? left : [...left, ...zeros, ...right];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}

function newKey(kind: KeyKind): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (kind) {
    case "p256":
      return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    case "p224":
      return generateKeyPairSync("ec", { namedCurve: "secp224r1" });
    case "rsa2048":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
    case "rsa1024":
      return generateKeyPairSync("rsa", { modulusLength: 1024 });
  }
}

function signatureAlgorithm(key: KeyObject, hash: Hash): Buffer {
  if (key.asymmetricKeyType === "ec")
    return sequence(oid(hash === "sha256" ? OID.ecdsaSha256 : OID.ecdsaSha1));
  return sequence(oid(hash === "sha256" ? OID.rsaSha256 : OID.rsaSha1), der(0x05, Buffer.alloc(0)));
}

function signed(tbs: Buffer, key: KeyObject, hash: Hash): Buffer {
  const signature = sign(hash, tbs, createPrivateKey(key.export({ type: "pkcs8", format: "pem" })));
  return sequence(tbs, signatureAlgorithm(key, hash), bitString(signature));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(OID.commonName), der(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const octets = der(0x04, value);
  return critical ? sequence(oid(id), der(0x01, Buffer.from([0xff])), octets) : sequence(oid(id), octets);
}

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const hex = body.length.toString(16);
  const long = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  const length = body.length < 128 ? Buffer.from([body.length]) : Buffer.from([0x80 | long.length, ...long]);
  return Buffer.concat([Buffer.from([tag]), length, body]);
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const septets = [part & 0x7f];
    for (let high = part >>> 7; high > 0; high >>>= 7) septets.unshift((high & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return der(0x06, Buffer.from(bytes));
}

/** GeneralizedTime from 2050 on, as RFC 5280 §4.1.2.5 asks. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/[-:T]|\.\d+/g, "");
  return at.getUTCFullYear() >= 2050
    ? der(0x18, Buffer.from(digits))
    : der(0x17, Buffer.from(digits.slice(2)));
}

function pem(label: string, content: Buffer): string {
  const lines = content.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

const sequence = (...content: readonly Buffer[]): Buffer => der(0x30, ...content);
const integer = (bytes: Buffer): Buffer => der(0x02, bytes);
const explicit = (tag: number, content: Buffer): Buffer => der(0xa0 | tag, content);
const bitString = (bytes: Buffer): Buffer => der(0x03, Buffer.from([0]), bytes);

const DAY = 24 * 60 * 60 * 1000;

const OID = {
  commonName: "2.5.4.3",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  crlNumber: "2.5.29.20",
  nameConstraints: "2.5.29.30",
  authorityKeyId: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ecdsaSha256: "1.2.840.10045.4.3.2",
  ecdsaSha1: "1.2.840.10045.4.1",
  rsaSha256: "1.2.840.113549.1.1.11",
  rsaSha1: "1.2.840.113549.1.1.5",
} as const;
