// The trust anchor and its issuer key: made on first start, or supplied. It fails closed on anything odd and must
// never replace a key that exists, nor let one leave this process.

import {
  createPrivateKey,
  generateKeyPairSync,
  randomUUID,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { link, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  commonName,
  createSigner,
  extension,
  issueCertificate,
  keyIdOf,
  readIssuerFields,
  spkiOf,
  splitPem,
  toPem,
  type IssuerFields,
  type Signer,
} from "./certificate.ts";
import { bits, boolean, integer, octets, sequence } from "./der.ts";
import {
  attempt,
  codeOf,
  exists,
  messageOf,
  readKeyFile,
  readText,
  restrict,
  syncDirectory,
  TrustAnchorError,
  writeNew,
} from "./files.ts";

export type TrustAnchorSource =
  | { readonly directory: string }
  | { readonly certFile: string; readonly keyFile: string; readonly chainFile?: string };

/** What leaves are minted with. Holds no printable key. */
export type Issuer = Signer & {
  readonly certificate: X509Certificate;
  /** What sandboxes are to trust: the top of the chain that is known. */
  readonly anchorPem: string;
  /** Sent after each leaf: the issuer and those above it, self-signed ones aside. Often empty. */
  readonly chainPem: string;
  /** DER Name. */
  readonly subject: Buffer;
  readonly keyId: Buffer;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** One key pair for all leaves of this process; see mint.ts. */
  readonly leafKey: { readonly privateKey: KeyObject; readonly spki: Buffer };
};

export async function openTrustAnchor(source: TrustAnchorSource, now = Date.now()): Promise<Issuer> {
  if ("directory" in source) return openDirectory(source.directory, now);
  const files = { cert: source.certFile, key: source.keyFile };
  return load(files, source.chainFile === undefined ? "" : await readText(source.chainFile), now);
}

/** Keeps the old pair as `ca-<date>.pem` and `.key`, then puts a new one in its place. */
export async function rotateTrustAnchor(directory: string, now = Date.now()): Promise<Issuer> {
  const files = filesIn(directory);
  for (const path of [files.key, files.cert]) {
    if (!(await exists(path))) throw new TrustAnchorError(`${path} is missing: there is no CA to rotate`);
  }
  const kept = join(directory, `ca-${new Date(now).toISOString().slice(0, 19).replaceAll(":", "-")}`);
  await withNewPair(directory, now, async (fresh) => {
    await attempt(`keep the old CA as ${kept}.pem`, async () => {
      await link(files.key, `${kept}.key`);
      await link(files.cert, `${kept}.pem`);
      await restrict(`${kept}.key`);
      await rename(fresh.key, files.key);
      await rename(fresh.cert, files.cert);
    });
  });
  return load(files, "", now);
}

async function openDirectory(directory: string, now: number): Promise<Issuer> {
  const files = filesIn(directory);
  const found = { cert: await exists(files.cert), key: await exists(files.key) };
  if (found.cert && !found.key) throw missingHalf(files.key, files.cert);
  if (!found.cert && !found.key) {
    await attempt(`make ${directory}`, () => mkdir(directory, { recursive: true, mode: 0o700 }));
    await withNewPair(directory, now, (fresh) => publish(fresh, files));
  }
  await certificateBeside(files);
  return load(files, "", now);
}

type Files = { readonly cert: string; readonly key: string };

const filesIn = (directory: string): Files => ({
  cert: join(directory, "ca.pem"),
  key: join(directory, "ca.key"),
});

const missingHalf = (missing: string, present: string): TrustAnchorError =>
  new TrustAnchorError(
    `${missing} is missing beside ${present}. Restore it, or move ${present} away to have a new CA made ` +
      "(sandboxes must then trust the new one)",
  );

/** Of several processes that start at once, the one that links its key first wins; the others take what it made. */
async function publish(fresh: Files, files: Files): Promise<void> {
  try {
    await link(fresh.key, files.key);
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return;
    throw new TrustAnchorError(`cannot make ${files.key}: ${messageOf(cause)}`, { cause });
  }
  await attempt(`make ${files.cert}`, () => link(fresh.cert, files.cert));
}

/** Waits, within bounds, for a process that has linked its key and is about to link the certificate. */
async function certificateBeside(files: Files): Promise<void> {
  for (let left = WINNER_POLLS; !(await exists(files.cert)); left--) {
    if (left === 0) throw missingHalf(files.cert, files.key);
    await sleep(WINNER_POLL_MS);
  }
}

/** Writes a new pair under temporary names, durably, and removes what `use` left of them. */
async function withNewPair(
  directory: string,
  now: number,
  use: (files: Files) => Promise<void>,
): Promise<void> {
  const base = join(directory, `.ca-${randomUUID()}`);
  const fresh = { cert: `${base}.pem`, key: `${base}.key` };
  const made = makeTrustAnchor(now);
  try {
    await attempt(`write into ${directory}`, async () => {
      await writeNew(fresh.key, made.keyPem, 0o600);
      await writeNew(fresh.cert, made.certPem, 0o644);
    });
    await use(fresh);
    await syncDirectory(directory);
  } finally {
    await rm(fresh.key, { force: true });
    await rm(fresh.cert, { force: true });
  }
}

function makeTrustAnchor(now: number): { certPem: string; keyPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = spkiOf(publicKey);
  const keyId = keyIdOf(spki);
  const name = commonName(`Sallyport CA ${keyId.toString("hex", 0, 4)}`);
  const der = issueCertificate(
    {
      issuer: name,
      subject: name,
      // Back-dated, so that leaves can be too, for sandboxes whose clock is slow.
      notBefore: now - DAY_MS,
      notAfter: now + ANCHOR_YEARS * 365 * DAY_MS,
      spki,
      extensions: [
        extension("2.5.29.19", true, sequence(boolean(true), integer(0))),
        extension("2.5.29.15", true, bits(Buffer.from([0x06]), 1)),
        extension("2.5.29.14", false, octets(keyId)),
      ],
    },
    createSigner(privateKey)!,
  );
  return { certPem: toPem(der), keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

async function load(files: Files, chainText: string, now: number): Promise<Issuer> {
  const key = readKey(await readKeyFile(files.key), files.key);
  const chain = readChain(splitPem(`${await readText(files.cert)}\n${chainText}`), files.cert);
  const certificate = chain[0]!;
  if (!certificate.checkPrivateKey(key)) {
    throw new TrustAnchorError(`${files.key} is not the key of ${files.cert}: the pair does not match`);
  }
  const signer = createSigner(key);
  if (signer === undefined) {
    throw new TrustAnchorError(
      `${files.key}: the key must be RSA of 2048 bits or more, or EC P-256 or P-384`,
    );
  }
  const fields = readIssuerFields(certificate.raw);
  const notBefore = Date.parse(certificate.validFrom);
  const notAfter = Date.parse(certificate.validTo);
  const objection = objectTo(certificate, fields, { now, notBefore, notAfter });
  if (objection !== undefined) throw new TrustAnchorError(`${files.cert} ${objection}`);
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    ...signer,
    certificate,
    anchorPem: toPem(chain.at(-1)!.raw),
    chainPem: chain
      .filter((link) => !isSelfSigned(link))
      .map((link) => toPem(link.raw))
      .join(""),
    subject: fields.subject,
    keyId: fields.keyId ?? keyIdOf(spkiOf(certificate.publicKey)),
    notBefore,
    notAfter,
    leafKey: { privateKey: pair.privateKey, spki: spkiOf(pair.publicKey) },
  };
}

/** Why verifiers would refuse what this certificate issues, if they would. */
function objectTo(
  certificate: X509Certificate,
  fields: IssuerFields,
  times: { now: number; notBefore: number; notAfter: number },
): string | undefined {
  const purposes = certificate.keyUsage as readonly string[] | undefined;
  if (!fields.isCa) return "is not a CA certificate (basicConstraints must say CA:TRUE)";
  if (fields.signsCertificates === false) return "may not sign certificates (keyUsage lacks keyCertSign)";
  if (purposes && !purposes.includes(SERVER_AUTH) && !purposes.includes(ANY_PURPOSE)) {
    return "may not issue for TLS servers (extendedKeyUsage lacks serverAuth)";
  }
  if (times.now > times.notAfter) {
    return `expired on ${new Date(times.notAfter).toISOString()}; renew it (for a CA of Sallyport's own: sallyport ca rotate)`;
  }
  if (times.now < times.notBefore) return `is not valid before ${new Date(times.notBefore).toISOString()}`;
  return undefined;
}

function readChain(pems: readonly string[], path: string): X509Certificate[] {
  if (pems.length === 0) throw new TrustAnchorError(`${path} holds no PEM certificate`);
  let chain: X509Certificate[];
  try {
    chain = pems.map((pem) => new X509Certificate(pem));
  } catch (cause) {
    throw new TrustAnchorError(`${path}: a certificate cannot be read`, { cause });
  }
  for (const [index, issued] of chain.slice(0, -1).entries()) {
    const above = chain[index + 1]!;
    if (!issued.checkIssued(above) || !issued.verify(above.publicKey)) {
      throw new TrustAnchorError(
        `${path}: certificate ${index + 1} of the chain was not issued by the one that follows it`,
      );
    }
  }
  return chain;
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is dropped: nothing of a key file is to reach a log.
    throw new TrustAnchorError(`${path} is not an unencrypted PEM private key`);
  }
}

const DAY_MS = 86_400_000;
const ANCHOR_YEARS = 10;
const WINNER_POLLS = 40;
const WINNER_POLL_MS = 25;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const ANY_PURPOSE = "2.5.29.37.0";
