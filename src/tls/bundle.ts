// What sandboxes are given to trust: our anchor beside the system's roots, as PEM and as a Java trust store.
// Public certificates only; never a key.

import { createCipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import tls from "node:tls";
import { splitPem } from "./certificate.ts";
import { bmp, explicit, implicit, integer, nil, octets, oid, sequence, set, toDer, type Der } from "./der.ts";
import type { Issuer } from "./trust-anchor.ts";
import type { Material } from "../environment/files.ts";

/** Of the trust anchor, in every form that a sandbox's programs read. */
export function trustMaterial(caPem: string): Material {
  const bundlePem = caBundle(caPem, { system: true });
  const truststore = pkcs12Truststore([bundlePem], TRUSTSTORE_PASSWORD);
  return { caPem, bundlePem, truststore, truststorePassword: TRUSTSTORE_PASSWORD };
}

/** Java wants one; the store holds public certificates only, so it protects nothing. */
const TRUSTSTORE_PASSWORD = "changeit";

/**
 * One PEM text, our anchor first. `system` adds the roots of this machine's store, or the runtime's own where the
 * machine has none: most tools take the file in place of theirs, and spliced hosts are still to verify.
 */
export function caBundle(anchor: Issuer | string, options: { readonly system: boolean }): string {
  const ours = splitPem(typeof anchor === "string" ? anchor : anchor.anchorPem);
  return [...new Set([...ours, ...(options.system ? systemRoots() : [])])].join("");
}

function systemRoots(): string[] {
  const system = tls.getCACertificates("system");
  return splitPem((system.length > 0 ? system : tls.getCACertificates("bundled")).join("\n"));
}

/**
 * PKCS#12 trust store (RFC 7292) of every certificate in the PEM texts. Java takes a certificate for trusted only
 * if Oracle's trustedKeyUsage attribute says so, and reads ASCII passwords only.
 */
export function pkcs12Truststore(pems: readonly string[], password: string): Buffer {
  const certificates = [...new Set(splitPem(pems.join("\n")))];
  const bags = sequence(...certificates.map((pem, index) => certificateBag(pem, `ca-${index + 1}`)));
  const safes = toDer(sequence(encryptedData(toDer(bags), password)));
  const salt = randomBytes(16);
  const mac = createHmac("sha256", deriveMacKey(password, salt)).update(safes).digest();
  return toDer(
    sequence(
      integer(3),
      sequence(oid(PKCS7_DATA), explicit(0, octets(safes))),
      sequence(sequence(sequence(oid(SHA256), nil()), octets(mac)), octets(salt), integer(ITERATIONS)),
    ),
  );
}

function certificateBag(pem: string, alias: string): Der {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  return sequence(
    oid("1.2.840.113549.1.12.10.1.3"),
    explicit(0, sequence(oid("1.2.840.113549.1.9.22.1"), explicit(0, octets(der)))),
    set(
      sequence(oid("1.2.840.113549.1.9.20"), set(bmp(alias))),
      sequence(oid("2.16.840.1.113894.746875.1.1"), set(oid("2.5.29.37.0"))),
    ),
  );
}

/** EncryptedData under PBES2 (RFC 8018): PBKDF2 with HMAC-SHA-256, AES-256-CBC. */
function encryptedData(plain: Buffer, password: string): Der {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", pbkdf2Sync(password, salt, ITERATIONS, 32, "sha256"), iv);
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  const derivation = sequence(
    oid("1.2.840.113549.1.5.12"),
    sequence(octets(salt), integer(ITERATIONS), sequence(oid("1.2.840.113549.2.9"), nil())),
  );
  const scheme = sequence(
    oid("1.2.840.113549.1.5.13"),
    sequence(derivation, sequence(oid("2.16.840.1.101.3.4.1.42"), octets(iv))),
  );
  return sequence(
    oid("1.2.840.113549.1.7.6"),
    explicit(0, sequence(integer(0), sequence(oid(PKCS7_DATA), scheme, implicit(0, sealed)))),
  );
}

/** RFC 7292 appendix B.2 with SHA-256 and ID 3; one block of output is the whole key. */
function deriveMacKey(password: string, salt: Buffer): Buffer {
  const secret = Buffer.from(`${password}\0`, "utf16le").swap16();
  const filled = [salt, secret].map((part) =>
    Buffer.alloc(Math.ceil(part.length / SHA256_BLOCK) * SHA256_BLOCK, part),
  );
  let key = Buffer.concat([Buffer.alloc(SHA256_BLOCK, 3), ...filled]);
  for (let round = 0; round < ITERATIONS; round++) key = createHash("sha256").update(key).digest();
  return key;
}

const ITERATIONS = 10_000;
const SHA256_BLOCK = 64;
const PKCS7_DATA = "1.2.840.113549.1.7.1";
const SHA256 = "2.16.840.1.101.3.4.2.1";
