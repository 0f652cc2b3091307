// The log's Ed25519 key and what it signs: checkpoints in the chain, and the head that says where the chain ends.
// The private key never leaves its file and this process.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { chmod, link, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KEY_FILE, PUBLIC_KEY_FILE } from "./files.ts";
import type { Position } from "./record.ts";

export type Signer = {
  readonly publicKeyPem: string;
  readonly fingerprint: string;
  sign(statement: string): string;
  /** Puts the key's files back where the directory was removed under a running log. */
  restore(): Promise<void>;
};

/** Opens the directory's key, or makes one where `mayCreate`. */
export async function openSigner(
  directory: string,
  { keyFile, mayCreate }: { keyFile: string | undefined; mayCreate: boolean },
): Promise<Signer> {
  const path = keyFile ?? join(directory, KEY_FILE);
  let pem = await readOrUndefined(path);
  if (pem === undefined) {
    if (!mayCreate) {
      throw new Error(
        `${path} is missing, but its audit log is there: restore the key, or move the log away`,
      );
    }
    pem = await createKey(path);
  }
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== "ed25519") throw new Error(`${path} is not an Ed25519 private key`);
  const publicKeyPem = createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
  const publish = async () => {
    const file = join(directory, PUBLIC_KEY_FILE);
    if ((await readOrUndefined(file)) !== publicKeyPem) await writeFile(file, publicKeyPem, { mode: 0o644 });
  };
  await publish();
  return {
    publicKeyPem,
    fingerprint: fingerprint(createPublicKey(key)),
    sign: (statement) => sign(null, Buffer.from(statement), key).toString("base64url"),
    restore: async () => {
      if (keyFile === undefined && (await readOrUndefined(path)) === undefined) {
        await writeFile(path, pem, { mode: 0o600 });
        await chmod(path, 0o600);
      }
      await publish();
    },
  };
}

// Whole or not at all, and never over another's: a crash or a second process may come between.
async function createKey(path: string): Promise<string> {
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const draft = `${path}.${process.pid}.new`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(draft, pem, { mode: 0o600, flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await unlink(draft);
  }
  return readFile(path, "utf8");
}

export function fingerprint(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("base64url");
}

export function signed(key: KeyObject, statement: string, signature: string): boolean {
  return verify(null, Buffer.from(statement), key, Buffer.from(signature, "base64url"));
}

export function checkpointStatement(writer: string, { seq, hash }: Position): string {
  return `sallyport audit checkpoint v1\n${writer}\n${seq}\n${hash}\n`;
}

/** Where the chain ends, as far as it was signed; a tail cut off before it is found by it. */
export type Head = Position & {
  readonly writer: string;
  readonly segment: number;
  /** The log was closed in order: nothing may follow. */
  readonly closed: boolean;
  readonly at: string;
};

export function formatHead(head: Head, signer: Signer): string {
  const { writer, segment, seq, hash, closed, at } = head;
  return `${JSON.stringify({ v: 1, writer, segment, seq, hash, closed, at, signature: signer.sign(headStatement(head)) })}\n`;
}

/** `undefined` where it is not a head or not signed by this key. */
export function parseHead(text: string, key: KeyObject): Head | undefined {
  try {
    const head = JSON.parse(text) as Head & { signature: string };
    if (!Number.isInteger(head.seq) || !Number.isInteger(head.segment) || typeof head.closed !== "boolean")
      return;
    return signed(key, headStatement(head), head.signature) ? head : undefined;
  } catch {
    return undefined;
  }
}

function headStatement({ writer, segment, seq, hash, closed, at }: Head): string {
  return `sallyport audit head v1\n${writer}\n${segment}\n${seq}\n${hash}\n${closed ? "closed" : "open"}\n${at}\n`;
}

export async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
