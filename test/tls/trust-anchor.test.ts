import { execFile } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import {
  commonName,
  createSigner,
  extension,
  issueCertificate,
  spkiOf,
  toPem,
} from "../../src/tls/certificate.ts";
import { bits, boolean, oid, sequence } from "../../src/tls/der.ts";
import { openTrustAnchor, rotateTrustAnchor } from "../../src/tls/trust-anchor.ts";
import { createCa, createSelfSigned, type Issued } from "../support/pki.ts";
import { temporaryDirectory } from "./support.ts";

const DAY = 86_400_000;
const run = promisify(execFile);

test("first start makes a CA that others cannot read, and later starts keep it", async () => {
  const directory = join(await temporaryDirectory(), "deep", "certs");
  const made = await openTrustAnchor({ directory });
  const again = await openTrustAnchor({ directory });
  expect(again.certificate.fingerprint256).toBe(made.certificate.fingerprint256);
  expect(await modes(directory)).toEqual({ ".": 0o700, "ca.key": 0o600, "ca.pem": 0o644 });
  expect(made.certificate.subject).toMatch(/^CN=Sallyport CA [0-9a-f]{8}$/);
  expect(made.certificate.ca).toBe(true);
  expect(made.chainPem).toBe("");
  expect(new X509Certificate(made.anchorPem).fingerprint256).toBe(made.certificate.fingerprint256);
  expect(Math.round((made.notAfter - Date.now()) / DAY)).toBe(3650);
});

test("each CA has a subject of its own", async () => {
  const [one, other] = await Promise.all([temporaryDirectory(), temporaryDirectory()]);
  const issuers = await Promise.all([one, other].map((directory) => openTrustAnchor({ directory })));
  expect(issuers[0]!.certificate.subject).not.toBe(issuers[1]!.certificate.subject);
});

test("nothing of the key prints (invariant 7)", async () => {
  const issuer = await openTrustAnchor({ directory: await temporaryDirectory() });
  const printed = inspect(issuer, { depth: 9, showHidden: true }) + JSON.stringify(issuer);
  expect(printed).not.toMatch(/PRIVATE KEY|"d":/);
});

test("of processes that start at once, all use the CA that one of them made", async () => {
  const directory = await temporaryDirectory();
  const source = new URL("../../src/tls/trust-anchor.ts", import.meta.url).href;
  const script = `const { openTrustAnchor } = await import(${JSON.stringify(source)});
    const issuer = await openTrustAnchor({ directory: ${JSON.stringify(directory)} });
    console.log(issuer.certificate.fingerprint256);`;
  const starts = await Promise.all(
    [1, 2, 3].map(() => run(process.execPath, ["--input-type=module", "-e", script])),
  );
  const winner = new X509Certificate(await readFile(join(directory, "ca.pem")));
  expect(starts.map(({ stdout }) => stdout.trim())).toEqual(Array(3).fill(winner.fingerprint256));
  expect((await readdir(directory)).sort()).toEqual(["ca.key", "ca.pem"]);
});

test("calls that race within a process agree too", async () => {
  const directory = await temporaryDirectory();
  const issuers = await Promise.all([1, 2, 3, 4].map(() => openTrustAnchor({ directory })));
  expect(new Set(issuers.map((issuer) => issuer.certificate.fingerprint256)).size).toBe(1);
});

test.each([
  ["ca.key", "ca.pem"],
  ["ca.pem", "ca.key"],
])("a missing %s fails closed and leaves %s as it is", async (missing, present) => {
  const directory = await temporaryDirectory();
  await openTrustAnchor({ directory });
  await rm(join(directory, missing));
  const before = await readFile(join(directory, present), "utf8");
  await expect(openTrustAnchor({ directory })).rejects.toThrow(`${join(directory, missing)} is missing`);
  expect(await readFile(join(directory, present), "utf8")).toBe(before);
  expect(await readdir(directory)).toEqual([present]);
});

test.each([0o640, 0o604, 0o666])("a key of mode %o is refused with the remedy", async (mode) => {
  const directory = await temporaryDirectory();
  await openTrustAnchor({ directory });
  const key = join(directory, "ca.key");
  await chmod(key, mode);
  await expect(openTrustAnchor({ directory })).rejects.toThrow(`chmod 600 ${key}`);
  await chmod(key, 0o400);
  await expect(openTrustAnchor({ directory })).resolves.toBeDefined();
});

test("an expired CA is refused, and rotation mends it", async () => {
  const directory = await temporaryDirectory();
  const made = await openTrustAnchor({ directory });
  await expect(openTrustAnchor({ directory }, made.notAfter + 1)).rejects.toThrow("expired on");
  await expect(openTrustAnchor({ directory }, made.notBefore - 1)).rejects.toThrow("is not valid before");
  await rotateTrustAnchor(directory, made.notAfter + 1);
  await expect(openTrustAnchor({ directory }, made.notAfter + 1)).resolves.toBeDefined();
});

test("rotation keeps the old pair under its date", async () => {
  const directory = await temporaryDirectory();
  const old = await openTrustAnchor({ directory });
  const oldKey = await readFile(join(directory, "ca.key"), "utf8");
  const fresh = await rotateTrustAnchor(directory, Date.UTC(2026, 10, 22, 9));
  expect(fresh.certificate.fingerprint256).not.toBe(old.certificate.fingerprint256);
  expect(await modes(directory)).toEqual({
    ".": 0o700,
    "ca-2026-11-22T09-00-00.key": 0o600,
    "ca-2026-11-22T09-00-00.pem": 0o644,
    "ca.key": 0o600,
    "ca.pem": 0o644,
  });
  expect(await readFile(join(directory, "ca-2026-11-22T09-00-00.key"), "utf8")).toBe(oldKey);
  await expect(rotateTrustAnchor(directory, Date.UTC(2026, 10, 22, 9))).rejects.toThrow(
    "cannot keep the old",
  );
  const kept = await openTrustAnchor({ directory });
  expect(kept.certificate.fingerprint256).toBe(fresh.certificate.fingerprint256);
});

test("there is nothing to rotate where there is no CA", async () => {
  const directory = await temporaryDirectory();
  await expect(rotateTrustAnchor(directory)).rejects.toThrow("there is no CA to rotate");
  expect(await readdir(directory)).toEqual([]);
});

test("a directory that cannot be made is named", async () => {
  const file = join(await temporaryDirectory(), "file");
  await writeFile(file, "");
  await expect(openTrustAnchor({ directory: join(file, "certs") })).rejects.toThrow(join(file, "certs"));
});

const root = createCa();
const pair = ({ cert, key }: Issued) => ({ cert, key });
const intermediate = root.issue({ commonName: "Own Intermediate", ca: true });

test.each<[string, Partial<Pick<Issued, "cert" | "key">> & { chain?: string }, string]>([
  ["another's key", { key: createCa().key }, "the pair does not match"],
  ["no key", { key: "nonsense" }, "is not an unencrypted PEM private key"],
  ["no certificate", { cert: "nonsense" }, "holds no PEM certificate"],
  [
    "a broken certificate",
    { cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
    "cannot be read",
  ],
  ["no CA", pair(createSelfSigned({ commonName: "leaf" })), "is not a CA certificate"],
  ["a weak RSA key", pair(createCa({ key: "rsa1024" })), "the key must be"],
  ["an odd curve", pair(createCa({ key: "p224" })), "the key must be"],
  ["an expired one", pair(createCa({ notAfter: new Date(Date.now() - DAY) })), "expired on"],
  ["one to come", pair(createCa({ notBefore: new Date(Date.now() + DAY) })), "is not valid before"],
  ["a chain of strangers", { chain: createCa({ commonName: "Stranger" }).cert }, "was not issued by"],
  ["a namesake in the chain", { chain: createCa().cert }, "was not issued by"],
  ["no right to sign", oddCa(0x02, undefined), "keyUsage lacks keyCertSign"],
  ["other purposes only", oddCa(0x06, "1.3.6.1.5.5.7.3.4"), "lacks serverAuth"],
])("refuses as own CA: %s", async (_name, odd, message) => {
  const source = await supply({ cert: intermediate.cert, key: intermediate.key, chain: "", ...odd });
  await expect(openTrustAnchor(source)).rejects.toThrow(message);
});

test.each<[string, Pick<Issued, "cert" | "key">]>([
  ["RSA", createCa({ key: "rsa2048" })],
  ["P-256", createCa()],
  ["P-384", oddCa(0x06, undefined, "P-384")],
  ["an intermediate alone", intermediate],
  ["serverAuth named", oddCa(0x06, "1.3.6.1.5.5.7.3.1")],
])("takes as own CA: %s", async (_name, { cert, key }) => {
  const issuer = await openTrustAnchor(await supply({ cert, key, chain: "" }));
  expect(issuer.certificate.raw).toEqual(new X509Certificate(cert).raw);
});

test("a chain may stand in the certificate's own file", async () => {
  const { certFile, keyFile } = await supply({ ...intermediate, cert: intermediate.cert + root.cert });
  const issuer = await openTrustAnchor({ certFile, keyFile });
  expect(new X509Certificate(issuer.anchorPem).raw).toEqual(root.x509.raw);
  expect(new X509Certificate(issuer.chainPem).raw).toEqual(intermediate.x509.raw);
});

test("a missing file is named", async () => {
  const source = await supply({ ...intermediate, chain: "" });
  for (const name of ["certFile", "keyFile", "chainFile"] as const) {
    await expect(openTrustAnchor({ ...source, [name]: "/nowhere/x" })).rejects.toThrow("/nowhere/x");
  }
});

async function supply(own: { cert: string; key: string; chain: string }) {
  const directory = join(await temporaryDirectory(), "own");
  await mkdir(directory);
  const source = {
    certFile: join(directory, "own.pem"),
    keyFile: join(directory, "own.key"),
    chainFile: join(directory, "chain.pem"),
  };
  await writeFile(source.certFile, own.cert);
  await writeFile(source.keyFile, own.key, { mode: 0o600 });
  await writeFile(source.chainFile, own.chain);
  return source;
}

function oddCa(usage: number, purpose: string | undefined, namedCurve = "P-256") {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
  const name = commonName("Odd CA");
  const der = issueCertificate(
    {
      issuer: name,
      subject: name,
      notBefore: Date.now() - DAY,
      notAfter: Date.now() + DAY,
      spki: spkiOf(publicKey),
      extensions: [
        extension("2.5.29.19", true, sequence(boolean(true))),
        extension("2.5.29.15", true, bits(Buffer.from([usage]), 1)),
        ...(purpose ? [extension("2.5.29.37", false, sequence(oid(purpose)))] : []),
      ],
    },
    createSigner(privateKey)!,
  );
  return { cert: toPem(der), key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

async function modes(directory: string): Promise<Record<string, number>> {
  const names = [".", ...(await readdir(directory)).sort()];
  const stats = await Promise.all(names.map((name) => stat(join(directory, name))));
  return Object.fromEntries(names.map((name, index) => [name, stats[index]!.mode & 0o777]));
}
