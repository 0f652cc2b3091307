// Mints a leaf for one host: a certificate that the strictest verifiers take, for a day's use and a month's validity.
// It must never make a certificate that can issue others, or one that outlives its issuer.

import type { KeyObject } from "node:crypto";
import { parseNetwork } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { commonName, extension, issueCertificate, keyIdOf, toPem } from "./certificate.ts";
import { bits, implicit, octets, oid, sequence, toDer } from "./der.ts";
import type { Issuer } from "./trust-anchor.ts";

export type Leaf = {
  readonly der: Buffer;
  /** The leaf, then those above it that sandboxes do not hold. */
  readonly chainPem: string;
  // One P-256 key pair serves every leaf of a process. A pair of its own would cost each leaf about 0.08 ms more
  // (0.045 made, 0.035 written out) and protect nothing: all the keys would live in this process beside the issuer's.
  readonly key: KeyObject;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
};

export function mintLeaf(issuer: Issuer, host: Host, now: number): Leaf {
  const seconds = Math.floor(now / 1000) * 1000;
  const notBefore = Math.max(seconds - BACKDATED_MS, issuer.notBefore);
  const notAfter = Math.min(seconds + VALID_MS, issuer.notAfter);
  if (now < issuer.notBefore || now >= issuer.notAfter) {
    throw new ProxyFault("internal-error", new Error("the trust anchor is not valid at this time"));
  }
  const { spki, privateKey } = issuer.leafKey;
  const named = host.length <= COMMON_NAME_MAX;
  const der = issueCertificate(
    {
      issuer: issuer.subject,
      subject: named ? commonName(host) : toDer(sequence()),
      notBefore,
      notAfter,
      spki,
      extensions: [
        extension("2.5.29.35", false, sequence(implicit(0, issuer.keyId))),
        extension("2.5.29.14", false, octets(keyIdOf(spki))),
        extension("2.5.29.19", true, sequence()),
        extension("2.5.29.15", true, bits(Buffer.from([0x80]), 7)),
        extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"))),
        // Without a subject the names must be critical (RFC 5280 §4.2.1.6).
        extension("2.5.29.17", !named, sequence(generalName(host))),
      ],
    },
    issuer,
  );
  return { der, chainPem: toPem(der) + issuer.chainPem, key: privateKey, notBefore, notAfter };
}

function generalName(host: Host) {
  const literal = parseNetwork(host);
  return literal ? implicit(7, literal.bytes) : implicit(2, Buffer.from(host, "ascii"));
}

const DAY_MS = 86_400_000;
const BACKDATED_MS = DAY_MS;
/** With the back-dating 31 days; browsers refuse more than 47 from 2029 on. */
const VALID_MS = 30 * DAY_MS;
/** ub-common-name (RFC 5280 appendix A.1). */
const COMMON_NAME_MAX = 64;
