import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { parseHost } from "../../src/net/host.ts";
import type { Host } from "../../src/net/host.ts";
import { checkOriginIdentity, createTrust, validUntil } from "../../src/upstream/trust.ts";
import { createCa } from "../support/pki.ts";

const directory = mkdtempSync(join(tmpdir(), "sallyport-trust-"));
afterAll(() => rmSync(directory, { recursive: true }));
function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const ca = createCa();
const caFile = file("ca.pem", ca.cert);

describe("checkOriginIdentity", () => {
  const names = (san: readonly string[], host: string, commonName?: string) =>
    checkOriginIdentity(
      host as Host,
      ca.issue({ names: san, ...(commonName === undefined ? {} : { commonName }) }).x509,
    ) === undefined;

  test.each([
    [["a.example"], "a.example"],
    [["A.Example"], "a.example"],
    [["b.example", "a.example"], "a.example"],
    [["*.a.example"], "b.a.example"],
    [["*.a.example"], "xn--bcher-kva.a.example"],
    [["xn--bcher-kva.example"], "xn--bcher-kva.example"],
    [["intranet"], "intranet"],
    [["192.0.2.1"], "192.0.2.1"],
    [["2001:db8::1"], "2001:db8::1"],
  ])("%j names %s", (san, host) => expect(names(san, host)).toBe(true));

  test.each([
    [["a.example"], "b.example"],
    [["a.example"], "b.a.example"],
    [["b.a.example"], "a.example"],
    // Wildcards: one whole left-most label, with two labels or more to its right.
    [["*.a.example"], "a.example"],
    [["*.a.example"], "c.b.a.example"],
    [["*.example"], "a.example"],
    [["*"], "a"],
    [["*"], "a.example"],
    [["*.*.example"], "a.b.example"],
    [["a.*.example"], "a.b.example"],
    [["a*.a.example"], "ab.a.example"],
    [["*a.a.example"], "ba.a.example"],
    [["a*b.a.example"], "acb.a.example"],
    [["xn--*.a.example"], "xn--bcher-kva.a.example"],
    [["**.a.example"], "b.a.example"],
    [[".a.example"], "b.a.example"],
    // A NUL must not end the name.
    [["a.example\0.evil.example"], "a.example"],
    [["evil.example\0a.example"], "a.example"],
    [["a.example, DNS:b.example"], "b.example"],
    // Literals and names are different things.
    [["192.0.2.1"], "192.0.2.2"],
    [["a.example"], "192.0.2.1"],
    [["*.0.2.1"], "192.0.2.1"],
    [["::ffff:c000:201"], "192.0.2.1"],
    [["192.0.2.1"], "::ffff:192.0.2.1"],
  ])("%j does not name %s", (san, host) => expect(names(san, host)).toBe(false));

  test.each([
    [[], "a.example"],
    [["b.example"], "a.example"],
    [["192.0.2.1"], "a.example"],
    [[], "192.0.2.1"],
  ])("the subject never counts: %j", (san, host) => expect(names(san, host, host)).toBe(false));

  test("a wildcard names exactly one label more, for any label", () => {
    const { x509 } = ca.issue({ names: ["*.a.example"] });
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 0, maxLength: 3 }), (labels) => {
        const host = parseHost([...labels, "a.example"].join("."));
        fc.pre(host !== undefined);
        expect(checkOriginIdentity(host, x509) === undefined).toBe(labels.length === 1);
      }),
    );
  });
});

describe("createTrust", () => {
  test("counts an anchor once, in whatever spelling", () => {
    const crlf = file("crlf.pem", `# a comment\r\n${ca.cert.replaceAll("\n", "\r\n")}${ca.cert}`);
    expect(createTrust({ trust: [caFile, crlf] }).anchors).toBe(1);
  });

  test("the generation changes with the anchors and the lists alone", () => {
    const other = file("other.pem", createCa().cert);
    const list = file("list.crl", ca.crl({ revoked: [] }));
    const generation = (trust: string[], crlFiles: string[] = []) =>
      createTrust({ trust, crlFiles }).generation;
    expect(generation([caFile])).toBe(generation([caFile]));
    const all = [
      generation([caFile]),
      generation([other]),
      generation([caFile, other]),
      generation([caFile], [list]),
    ];
    expect(new Set(all).size).toBe(4);
  });

  test("`system` finds the machine's own bundle, without help from the environment", ({ skip }) => {
    const bundle = "/etc/ssl/certs/ca-certificates.crt";
    if (!existsSync(bundle)) skip("not a machine with this bundle");
    const blocks = readFileSync(bundle, "latin1").match(/-----BEGIN CERTIFICATE-----/g) ?? [];
    const script = `import { createTrust } from ${JSON.stringify(join(import.meta.dirname, "../../src/upstream/trust.ts"))};
      const count = (...trust) => createTrust({ trust }).anchors;
      console.log(JSON.stringify([count("system"), count("bundled"), count("system", "bundled"), count("system", ${JSON.stringify(bundle)})]));`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], { env: {} });
    const [system = 0, bundled = 0, both = 0, withBundle] = JSON.parse(output.toString()) as number[];
    expect(blocks.length).toBeGreaterThan(0);
    // Nothing of the bundle was missing, and the stores' overlap is counted once.
    expect(withBundle).toBe(system);
    expect(both).toBeGreaterThanOrEqual(Math.max(system, bundled));
    expect(both).toBeLessThanOrEqual(system + bundled);
  });

  const text = file("text.pem", "no certificate here");
  const broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
  const keyOnly = file("key.pem", ca.key);
  const good = Buffer.from(ca.crl({ revoked: [] }).replace(/-----[^-]+-----/g, ""), "base64");
  const cut = file("cut.crl", good.subarray(0, -80));
  test.each([
    [[], [], "upstream.trust: no trust anchor"],
    [[caFile, caFile], [], `upstream.trust: ${caFile} is named twice`],
    [["system", "system"], [], "upstream.trust: system is named twice"],
    [["/nonexistent/ca.pem"], [], "upstream.trust: /nonexistent/ca.pem: ENOENT"],
    [[directory], [], `upstream.trust: ${directory}: EISDIR`],
    [[text], [], `upstream.trust: ${text}: holds no certificate in PEM`],
    [[keyOnly], [], `upstream.trust: ${keyOnly}: holds no certificate in PEM`],
    [[caFile, broken], [], `upstream.trust: ${broken}: `],
    [[caFile], ["/nonexistent/a.crl"], "upstream.crlFiles: /nonexistent/a.crl: ENOENT"],
    [[caFile], [text], `upstream.crlFiles: ${text}: holds no revocation list`],
    [[caFile], [cut], `upstream.crlFiles: ${cut}: truncated DER`],
  ])("%j %j: %s", (trust, crlFiles, message) => {
    expect(() => createTrust({ trust, crlFiles })).toThrow(message);
  });
});

test("validUntil is the first end among the certificates and their lists", () => {
  const at = (days: number) => new Date(Math.floor(Date.now() / 1000) * 1000 + days * 86_400_000);
  const leaf = ca.issue({ names: ["a.example"], notAfter: at(9) });
  const chain = [leaf.x509, ca.x509];
  const until = (nextUpdate?: Date) =>
    validUntil(
      createTrust({
        trust: [caFile],
        crlFiles: nextUpdate ? [file("until.crl", ca.crl({ revoked: [], nextUpdate }))] : [],
      }),
      chain,
    );
  expect([until(), until(at(20)), until(at(3))]).toEqual([at(9), at(9), at(3)].map(Number));
});

test("the anchors that a certificate names as its issuer are found as OpenSSL finds them", () => {
  const like = { commonName: "Some Root", keyId: Buffer.alloc(20, 1) };
  const [first, second, shouted, other] = [
    createCa(like),
    createCa(like),
    createCa({ ...like, commonName: " SOME  ROOT" }),
    createCa({ commonName: "Other Root" }),
  ];
  const anchors = [first, second, shouted, other].map(({ cert }) => cert);
  const { issuersOf } = createTrust({ trust: [file("issuers.pem", anchors.join(""))] });
  const found = (one: { x509: Parameters<typeof issuersOf>[0] }) =>
    issuersOf(one.x509).map(({ fingerprint256 }) => fingerprint256);
  const leaf = first.issue({ names: ["a.example"] });
  expect(found(leaf)).toEqual([first, second, shouted].map(({ x509 }) => x509.fingerprint256));
  expect(found(other.issue({ names: ["a.example"] }))).toEqual([other.x509.fingerprint256]);
  expect(found(ca.issue({ names: ["a.example"] }))).toEqual([]);
});
