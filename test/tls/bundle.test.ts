import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { caBundle, pkcs12Truststore } from "../../src/tls/bundle.ts";
import { splitPem } from "../../src/tls/certificate.ts";
import { createCa } from "../support/pki.ts";
import { freshIssuer, temporaryDirectory } from "./support.ts";

const run = promisify(execFile);

test("the bundle has our anchor first, then each system root once", async () => {
  const issuer = await freshIssuer();
  const alone = caBundle(issuer, { system: false });
  expect(alone).toBe(issuer.anchorPem);
  const found = splitPem(caBundle(issuer, { system: true }));
  expect(found[0]).toBe(issuer.anchorPem);
  expect(new Set(found).size).toBe(found.length);
  const system = tls.getCACertificates("system");
  const roots = system.length > 0 ? system : tls.getCACertificates("bundled");
  const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;
  expect(new Set(found.slice(1).map(fingerprint))).toEqual(new Set(roots.map(fingerprint)));
});

test("a PEM text serves as well, and text around its certificates is dropped", () => {
  const { cert } = createCa();
  const messy = `# ours\r\n${cert.replaceAll("\n", "\r\n")}trailing`;
  expect(splitPem(caBundle(messy, { system: false })).map((pem) => new X509Certificate(pem).raw)).toEqual([
    new X509Certificate(cert).raw,
  ]);
});

test("keytool lists every certificate of the trust store as trusted", async ({ skip }) => {
  const listed = await keytool(["-help"]).catch(() => undefined);
  if (listed === undefined) skip("keytool is not installed");
  const bundle = caBundle(await freshIssuer(), { system: true });
  const store = join(await temporaryDirectory(), "trust.p12");
  await writeFile(store, pkcs12Truststore([bundle], "a pass~word"));
  const { stdout } = await keytool([
    "-list",
    "-storetype",
    "PKCS12",
    "-keystore",
    store,
    "-storepass",
    "a pass~word",
  ]);
  const expected = splitPem(bundle).map((pem) => new X509Certificate(pem).fingerprint256);
  const fingerprints = stdout.match(/(?:[0-9A-F]{2}:){31}[0-9A-F]{2}/g) ?? [];
  expect(new Set(fingerprints)).toEqual(new Set(expected));
  expect(stdout.match(/trustedCertEntry/g)).toHaveLength(expected.length);
  await expect(
    keytool(["-list", "-storetype", "PKCS12", "-keystore", store, "-storepass", "wrong-one"]),
  ).rejects.toThrow("keytool");
});

test("OpenSSL reads the trust store and its MAC", async ({ skip }) => {
  const present = await run("openssl", ["version"]).catch(() => undefined);
  if (present === undefined) skip("openssl is not installed");
  const pems = [createCa({ commonName: "One" }).cert, createCa({ commonName: "Two" }).cert];
  const store = join(await temporaryDirectory(), "trust.p12");
  await writeFile(store, pkcs12Truststore(pems, "changeit"));
  const { stdout } = await run("openssl", ["pkcs12", "-in", store, "-nokeys", "-passin", "pass:changeit"]);
  expect(splitPem(stdout).map((pem) => new X509Certificate(pem).subject)).toEqual(["CN=One", "CN=Two"]);
});

const keytool = (args: string[]) =>
  run("keytool", args, {
    env: { ...process.env, LC_ALL: "C.UTF-8" },
  });
