import { expect, test } from "vitest";

import { issuerAndSerial, parseCrls } from "../../src/upstream/crl.ts";
import { createCa } from "../support/pki.ts";

const ca = createCa({ commonName: "First" });
const other = createCa({ commonName: "Second" });
const [one, two] = [ca.issue({ names: ["a.example"] }), ca.issue({ names: ["b.example"] })];
const der = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
const serials = (crls: ReturnType<typeof parseCrls>) => crls.map((crl) => [...crl.serials]);

test("reads PEM with several lists, and DER", () => {
  const first = ca.crl({ revoked: [one, two] });
  const second = other.crl({ revoked: [] });
  const expected = [one, two].map(({ x509 }) => x509.serialNumber);
  expect(serials(parseCrls(Buffer.from(`# lists\n${first}${second}`)))).toEqual([expected, []]);
  expect(serials(parseCrls(der(first)))).toEqual([expected]);
});

test("issuer and serial of a certificate are spelled as the list spells them", () => {
  const [list] = parseCrls(Buffer.from(ca.crl({ revoked: [one] })));
  const { issuer, serial } = issuerAndSerial(one.x509.raw);
  expect([issuer === list?.issuer, list?.serials.has(serial), serial]).toEqual([
    true,
    true,
    one.x509.serialNumber,
  ]);
  expect(issuerAndSerial(other.issue({ names: ["a.example"] }).x509.raw).issuer).not.toBe(list?.issuer);
});

test.each([new Date("2049-12-31T23:59:59Z"), new Date("2050-01-01T00:00:00Z")])(
  "reads the end: %s",
  (nextUpdate) => {
    const [list] = parseCrls(Buffer.from(ca.crl({ revoked: [], nextUpdate })));
    expect(list?.nextUpdate).toBe(nextUpdate.getTime());
  },
);

test("every truncation is refused", () => {
  const whole = der(ca.crl({ revoked: [one] }));
  for (let length = 0; length < whole.length; length++)
    expect(() => parseCrls(whole.subarray(0, length))).toThrow(/./);
});

test("a delta list is refused", () => {
  const whole = ca.crl({ revoked: [one] });
  // The list number's extension (2.5.29.20, value INTEGER 1), made into a critical delta indicator (2.5.29.27).
  const plain = Buffer.from("300a0603551d14040302 0101".replace(" ", ""), "hex");
  const bytes = der(whole);
  const at = bytes.indexOf(plain);
  expect(at).toBeGreaterThan(0);
  const critical = Buffer.from("300a0603551d1b0101ff0400", "hex");
  critical.copy(bytes, at);
  expect(() => parseCrls(bytes)).toThrow("critical extension");
});
