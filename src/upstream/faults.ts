// Which reason a failure on the way to an origin is told by. It reads error codes, never message texts, and keeps the cause.

import { ProxyFault } from "../net/fault.ts";
import type { Reason } from "../net/reasons.ts";

/** Any error of a socket or a TLS handshake with an origin as a fault; a fault stays what it is. */
export function upstreamFault(error: unknown): ProxyFault {
  if (error instanceof ProxyFault) return error;
  if (error instanceof AggregateError) return mostTelling(error);
  const code = errorCode(error);
  return new ProxyFault(code === undefined ? "internal-error" : reasonOf(code), error);
}

export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function mostTelling(error: AggregateError): ProxyFault {
  const reasons = new Set(error.errors.map((one) => upstreamFault(one).reason));
  const [first = "upstream-unreachable"] = reasons;
  return new ProxyFault(TELLING.find((reason) => reasons.has(reason)) ?? first, error);
}

function reasonOf(code: string): Reason {
  const known = BY_CODE.get(code);
  if (known !== undefined) return known;
  // OpenSSL's library errors: ERR_SSL_WRONG_VERSION_NUMBER, ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE, ERR_OSSL_...
  return /^ERR_(SSL|OSSL|TLS)_/.test(code) ? "upstream-tls-failed" : "internal-error";
}

/** Of several addresses' failures the one that says most: who answered says more than who was silent. */
const TELLING: readonly Reason[] = [
  "upstream-refused",
  "upstream-reset",
  "upstream-timeout",
  "upstream-unreachable",
];

const CODES: Readonly<Partial<Record<Reason, readonly string[]>>> = {
  "upstream-refused": ["ECONNREFUSED"],
  "upstream-timeout": ["ETIMEDOUT"],
  // EPERM and EACCES are how a local packet filter says no.
  "upstream-unreachable": [
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ENETDOWN",
    "EHOSTDOWN",
    "EADDRNOTAVAIL",
    "EAFNOSUPPORT",
    "EINVAL",
    "EPERM",
    "EACCES",
  ],
  "upstream-reset": ["ECONNRESET", "ECONNABORTED", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"],
  "upstream-tls-failed": ["EPROTO", "ERR_TLS_DH_PARAM_SIZE"],
  "certificate-expired": ["CERT_HAS_EXPIRED"],
  "certificate-not-yet-valid": ["CERT_NOT_YET_VALID"],
  "certificate-untrusted": [
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "CERT_UNTRUSTED",
    "CERT_REJECTED",
  ],
  "certificate-name-mismatch": ["ERR_TLS_CERT_ALTNAME_INVALID", "HOSTNAME_MISMATCH"],
  "certificate-revoked": ["CERT_REVOKED"],
  "certificate-weak": [
    "CA_MD_TOO_WEAK",
    "CA_KEY_TOO_SMALL",
    "EE_KEY_TOO_SMALL",
    "ERR_SSL_CA_MD_TOO_WEAK",
    "ERR_SSL_CA_KEY_TOO_SMALL",
    "ERR_SSL_EE_KEY_TOO_SMALL",
  ],
  // UNSPECIFIED is Node's one word for the OpenSSL results it has no name for: constraints, key usage, critical extensions.
  "certificate-invalid": [
    "INVALID_CA",
    "INVALID_PURPOSE",
    "PATH_LENGTH_EXCEEDED",
    "CERT_CHAIN_TOO_LONG",
    "CERT_SIGNATURE_FAILURE",
    "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
    "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
    "ERROR_IN_CERT_NOT_BEFORE_FIELD",
    "ERROR_IN_CERT_NOT_AFTER_FIELD",
    "UNSPECIFIED",
  ],
};

const BY_CODE: ReadonlyMap<string, Reason> = new Map(
  Object.entries(CODES).flatMap(([reason, codes]) => codes.map((code) => [code, reason as Reason] as const)),
);
