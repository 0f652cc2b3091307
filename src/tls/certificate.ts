// X.509 certificates as RFC 5280 writes them, for the trust anchor and for leaves alike. Encodes and signs what it
// is given; which names and times are right is decided by its callers.

import { createHash, randomBytes, sign, type KeyObject } from "node:crypto";
import {
  bits,
  boolean,
  encoded,
  explicit,
  integer,
  nil,
  octets,
  oid,
  readChildren,
  readElement,
  sequence,
  set,
  time,
  toDer,
  unsigned,
  utf8,
  type Der,
} from "./der.ts";

/** Signs with one key; the key itself stays in the closure. */
export type Signer = {
  readonly algorithm: Buffer;
  readonly sign: (tbs: Buffer) => Buffer;
};

export type CertificateFields = {
  /** DER Name. */
  readonly issuer: Buffer;
  /** DER Name. */
  readonly subject: Buffer;
  /** Milliseconds since the epoch, as is `notAfter`; both are cut to whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Buffer;
  readonly extensions: readonly Der[];
};

/** DER of a v3 certificate with a random serial number. */
export function issueCertificate(fields: CertificateFields, signer: Signer): Buffer {
  const algorithm = encoded(signer.algorithm);
  const tbs = toDer(
    sequence(
      explicit(0, integer(2)),
      unsigned(randomSerial()),
      algorithm,
      encoded(fields.issuer),
      sequence(time(fields.notBefore), time(fields.notAfter)),
      encoded(fields.subject),
      encoded(fields.spki),
      explicit(3, sequence(...fields.extensions)),
    ),
  );
  return toDer(sequence(encoded(tbs), algorithm, bits(signer.sign(tbs))));
}

/** `undefined` for keys that strict verifiers refuse: RSA under 2048 bits, curves but P-256 and P-384, other kinds. */
export function createSigner(key: KeyObject): Signer | undefined {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  const make = (hash: string, algorithm: Der): Signer => ({
    algorithm: toDer(algorithm),
    sign: (tbs) => sign(hash, tbs, key),
  });
  if (key.asymmetricKeyType === "rsa" && modulusLength >= 2048) {
    return make("sha256", sequence(oid("1.2.840.113549.1.1.11"), nil()));
  }
  if (namedCurve === "prime256v1") return make("sha256", sequence(oid("1.2.840.10045.4.3.2")));
  if (namedCurve === "secp384r1") return make("sha384", sequence(oid("1.2.840.10045.4.3.3")));
  return undefined;
}

export function commonName(text: string): Buffer {
  return toDer(sequence(set(sequence(oid("2.5.4.3"), utf8(text)))));
}

export function extension(id: string, critical: boolean, value: Der): Der {
  const body = octets(toDer(value));
  return critical ? sequence(oid(id), boolean(true), body) : sequence(oid(id), body);
}

export const spkiOf = (publicKey: KeyObject): Buffer => publicKey.export({ type: "spki", format: "der" });

/** Leftmost 160 bits of SHA-256 over the public key's bits (RFC 7093 §2, method 1). */
export function keyIdOf(spki: Buffer): Buffer {
  const keyBits = readChildren(readElement(spki).content)[1]!.content.subarray(1);
  return createHash("sha256").update(keyBits).digest().subarray(0, 20);
}

export function toPem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** The certificates of a PEM text, each normalised to one block, in order; text between them is dropped. */
export function splitPem(text: string): string[] {
  const blocks = text.matchAll(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END/g);
  return [...blocks].map(([, body]) => toPem(Buffer.from(body!, "base64")));
}

/** What Node's X509Certificate does not tell apart. */
export type IssuerFields = {
  /** DER Name, byte for byte. */
  readonly subject: Buffer;
  readonly keyId: Buffer | undefined;
  /** basicConstraints says so. */
  readonly isCa: boolean;
  /** `undefined` where there is no keyUsage extension. */
  readonly signsCertificates: boolean | undefined;
};

export function readIssuerFields(der: Buffer): IssuerFields {
  const tbs = readChildren(readChildren(readElement(der).content)[0]!.content);
  const versioned = tbs[0]!.tag === 0xa0;
  const extensions = tbs.find((field) => field.tag === 0xa3);
  let keyId: Buffer | undefined;
  let isCa = false;
  let signsCertificates: boolean | undefined;
  for (const item of extensions ? readChildren(readElement(extensions.content).content) : []) {
    const parts = readChildren(item.content);
    const value = readElement(parts.at(-1)!.content);
    if (parts[0]!.content.equals(SUBJECT_KEY_IDENTIFIER)) keyId = value.content;
    if (parts[0]!.content.equals(BASIC_CONSTRAINTS)) isCa = value.content.subarray(0, 3).equals(DER_TRUE);
    if (parts[0]!.content.equals(KEY_USAGE)) signsCertificates = ((value.content[1] ?? 0) & 0x04) !== 0;
  }
  return { subject: tbs[versioned ? 5 : 4]!.whole, keyId, isCa, signsCertificates };
}

/** 16 bytes, positive, and never shorter for leading zeros. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

const SUBJECT_KEY_IDENTIFIER = Buffer.from([0x55, 0x1d, 0x0e]);
const KEY_USAGE = Buffer.from([0x55, 0x1d, 0x0f]);
const BASIC_CONSTRAINTS = Buffer.from([0x55, 0x1d, 0x13]);
const DER_TRUE = Buffer.from([0x01, 0x01, 0xff]);
