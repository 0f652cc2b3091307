import { describe, expect, test } from "vitest";

import { ProxyFault } from "../../src/net/fault.ts";
import { upstreamFault } from "../../src/upstream/faults.ts";

const coded = (code: string) => Object.assign(new Error("a text that says nothing"), { code });

describe("upstreamFault", () => {
  test.each([
    ["ECONNREFUSED", "upstream-refused"],
    ["ETIMEDOUT", "upstream-timeout"],
    ["ENETUNREACH", "upstream-unreachable"],
    ["EHOSTUNREACH", "upstream-unreachable"],
    ["EACCES", "upstream-unreachable"],
    ["ECONNRESET", "upstream-reset"],
    ["EPIPE", "upstream-reset"],
    ["EPROTO", "upstream-tls-failed"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "upstream-tls-failed"],
    ["ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", "upstream-tls-failed"],
    ["CERT_HAS_EXPIRED", "certificate-expired"],
    ["CERT_NOT_YET_VALID", "certificate-not-yet-valid"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "certificate-untrusted"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "certificate-untrusted"],
    ["UNABLE_TO_GET_ISSUER_CERT", "certificate-untrusted"],
    ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "certificate-untrusted"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "certificate-untrusted"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "certificate-name-mismatch"],
    ["CERT_REVOKED", "certificate-revoked"],
    ["CA_MD_TOO_WEAK", "certificate-weak"],
    ["EE_KEY_TOO_SMALL", "certificate-weak"],
    ["INVALID_PURPOSE", "certificate-invalid"],
    ["INVALID_CA", "certificate-invalid"],
    ["PATH_LENGTH_EXCEEDED", "certificate-invalid"],
    ["UNSPECIFIED", "certificate-invalid"],
    ["EMFILE", "internal-error"],
    ["constructor", "internal-error"],
  ])("%s: %s", (code, reason) => {
    const error = coded(code);
    expect(upstreamFault(error)).toMatchObject({ reason, cause: error });
  });

  test.each([undefined, null, "ECONNREFUSED", new Error("ECONNREFUSED"), { code: 7 }])(
    "no code: %s",
    (error) => expect(upstreamFault(error)).toMatchObject({ reason: "internal-error" }),
  );

  test("a fault stays what it is", () => {
    const fault = new ProxyFault("certificate-revoked");
    expect(upstreamFault(fault)).toBe(fault);
  });

  test.each([
    [["ENETUNREACH", "ECONNREFUSED"], "upstream-refused"],
    [["ETIMEDOUT", "ECONNREFUSED"], "upstream-refused"],
    [["ENETUNREACH", "ETIMEDOUT"], "upstream-timeout"],
    [["ENETUNREACH"], "upstream-unreachable"],
    [["EMFILE"], "internal-error"],
    [["EMFILE", "ENETUNREACH"], "upstream-unreachable"],
    [[], "upstream-unreachable"],
  ])("of several: %j", (codes, reason) => {
    const error = new AggregateError(codes.map(coded));
    expect(upstreamFault(error)).toMatchObject({ reason, cause: error });
  });
});
