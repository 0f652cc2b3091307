import { X509Certificate } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { readChildren, readElement } from "../../src/tls/der.ts";
import { mintLeaf, type Leaf } from "../../src/tls/mint.ts";
import { createCa } from "../support/pki.ts";
import { freshIssuer, host, suppliedIssuer } from "./support.ts";

const DAY = 86_400_000;
const YEAR = 365 * DAY;

test("a leaf holds what strict verifiers ask for, and its issuer's names", async () => {
  const issuer = await freshIssuer();
  const leaf = mintLeaf(issuer, host("app.example.com"), Date.now());
  const certificate = new X509Certificate(leaf.der);
  expect({
    subject: certificate.subject,
    issuer: certificate.issuer,
    names: certificate.subjectAltName,
    ca: certificate.ca,
    purposes: certificate.keyUsage,
    verified: certificate.verify(issuer.certificate.publicKey),
    issued: certificate.checkIssued(issuer.certificate),
    keyMatches: certificate.checkPrivateKey(leaf.key),
    extensions: extensionsOf(leaf),
  }).toEqual({
    subject: "CN=app.example.com",
    issuer: issuer.certificate.subject,
    names: "DNS:app.example.com",
    ca: false,
    purposes: ["1.3.6.1.5.5.7.3.1"],
    verified: true,
    issued: true,
    keyMatches: true,
    extensions: [
      ["AKI", false],
      ["SKI", false],
      ["basicConstraints", true],
      ["keyUsage", true],
      ["EKU", false],
      ["SAN", false],
    ],
  });
  expect(leaf.chainPem).not.toContain("PRIVATE");
});

test.each([
  ["127.0.0.1", "IP Address:127.0.0.1"],
  ["[2001:db8::1]", "IP Address:2001:DB8:0:0:0:0:0:1"],
  ["127.0.0.1.example.com", "DNS:127.0.0.1.example.com"],
  ["_srv.example.com", "DNS:_srv.example.com"],
])("%s is named as %s", async (name, expected) => {
  const leaf = mintLeaf(await freshIssuer(), host(name), Date.now());
  expect(new X509Certificate(leaf.der).subjectAltName).toBe(expected);
});

test.each([
  [64, "CN=", false],
  [65, undefined, true],
])("a name of %i characters: subject %s, SAN critical %s", async (length, subject, critical) => {
  const name = `${"a".repeat(40)}.${"b".repeat(length - 41)}`;
  const leaf = mintLeaf(await freshIssuer(), host(name), Date.now());
  expect(new X509Certificate(leaf.der).subject).toBe(subject && `${subject}${name}`);
  expect(extensionsOf(leaf).at(-1)).toEqual(["SAN", critical]);
});

test("an RSA issuer and an intermediate sign too; the chain goes with the leaf", async () => {
  const root = createCa({ key: "rsa2048" });
  const intermediate = root.issue({ commonName: "Own Intermediate", ca: true, pathLength: 0 });
  const byRoot = mintLeaf(await suppliedIssuer(root), host("a.example"), Date.now());
  expect(new X509Certificate(byRoot.der).verify(root.x509.publicKey)).toBe(true);
  expect(byRoot.chainPem.match(/BEGIN/g)).toHaveLength(1);

  const issuer = await suppliedIssuer(intermediate, root);
  const below = mintLeaf(issuer, host("a.example"), Date.now());
  expect(new X509Certificate(below.der).verify(intermediate.x509.publicKey)).toBe(true);
  expect(below.chainPem.match(/BEGIN/g)).toHaveLength(2);
  expect(new X509Certificate(issuer.anchorPem).fingerprint256).toBe(root.x509.fingerprint256);
});

test("serial numbers are 16 bytes, positive and never repeated", async () => {
  const issuer = await freshIssuer();
  const serials = Array.from({ length: 200 }, () =>
    fieldsOf(mintLeaf(issuer, host("a.example"), Date.now()))[1]!.content.toString("hex"),
  );
  expect(new Set(serials).size).toBe(200);
  for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
});

test("whenever a leaf is minted, it is valid, for 47 days at most and within its issuer's time", async () => {
  const made = Date.UTC(2045, 0, 1);
  const issuer = await freshIssuer(made);
  fc.assert(
    fc.property(fc.integer({ min: made - DAY, max: made + 10 * YEAR - 1 }), (now) => {
      const leaf = mintLeaf(issuer, host("a.example"), now);
      const certificate = new X509Certificate(leaf.der);
      const from = Date.parse(certificate.validFrom);
      const to = Date.parse(certificate.validTo);
      expect([from, to]).toEqual([leaf.notBefore, leaf.notAfter]);
      expect(from).toBeLessThanOrEqual(now);
      expect(to).toBeGreaterThan(now);
      expect(to - from).toBeLessThan(47 * DAY);
      expect(from).toBeGreaterThanOrEqual(issuer.notBefore);
      expect(to).toBeLessThanOrEqual(issuer.notAfter);
      const times = readChildren(fieldsOf(leaf)[4]!.content).map((field) => field.tag);
      expect(times).toEqual([from, to].map((at) => (at < Date.UTC(2050, 0, 1) ? 0x17 : 0x18)));
    }),
    { numRuns: 200 },
  );
});

test("outside its issuer's time nothing is minted", async () => {
  const issuer = await freshIssuer();
  for (const now of [issuer.notBefore - 1, issuer.notAfter]) {
    expect(() => mintLeaf(issuer, host("a.example"), now)).toThrow(ProxyFault);
  }
  for (const now of [issuer.notBefore, issuer.notAfter - 1]) {
    expect(mintLeaf(issuer, host("a.example"), now).notBefore).toBeGreaterThanOrEqual(issuer.notBefore);
  }
});

const NAMES: Record<string, string> = {
  "551d23": "AKI",
  "551d0e": "SKI",
  "551d13": "basicConstraints",
  "551d0f": "keyUsage",
  "551d25": "EKU",
  "551d11": "SAN",
};

/** version, serial, algorithm, issuer, validity, subject, key, extensions */
const fieldsOf = (leaf: Leaf) => readChildren(readChildren(readElement(leaf.der).content)[0]!.content);

function extensionsOf(leaf: Leaf): [string | undefined, boolean][] {
  return readChildren(readElement(fieldsOf(leaf)[7]!.content).content).map((item) => {
    const parts = readChildren(item.content);
    return [NAMES[parts[0]!.content.toString("hex")], parts.length === 3];
  });
}
