// Verifies a log offline, with the public key alone, in flat memory: names the first record that was changed, dropped,
// reordered or repeated. What it cannot prove is told in docs/audit.md.

import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { listChains, workerChain, type Chain } from "./chains.ts";
import { HEAD_FILE, listSegments, PUBLIC_KEY_FILE, segmentFile, type SegmentFile } from "./files.ts";
import { parseHead, readOrUndefined } from "./keys.ts";
import { Verification, type VerifyReport } from "./verification.ts";

export type { VerifyReport } from "./verification.ts";

export type VerifyOptions = {
  /** A log's directory with its head, or single segments in order. */
  readonly from: { readonly directory: string } | { readonly files: readonly string[] };
  /** SPKI PEM; the directory's own `audit.pub` where absent, which proves nothing against who could change both. */
  readonly publicKeyPem?: string | undefined;
  /** Older segments were moved away on purpose: begin with the first that is there. */
  readonly pruned?: boolean | undefined;
};

export async function verifyAudit(options: VerifyOptions): Promise<VerifyReport> {
  return (await verified(options)).report();
}

/** Every chain of a log, with the one key that signs them all. */
export type LogReport = {
  readonly ok: boolean;
  readonly chains: readonly { readonly chain: Chain; readonly report: VerifyReport }[];
  /** Chains of workers that served, of which nothing is there. */
  readonly missing: readonly string[];
};

export async function verifyLog(directory: string, options: Omit<VerifyOptions, "from">): Promise<LogReport> {
  const publicKeyPem = options.publicKeyPem ?? (await ownPublicKey(directory));
  const chains: { chain: Chain; report: VerifyReport }[] = [];
  const missing = new Set<string>();
  // Read first: who is said there to have served made its chain before.
  const own = { name: "", directory };
  const first = await verified({ ...options, publicKeyPem, from: { directory } });
  chains.push({ chain: own, report: first.report() });
  for (const worker of first.workers) missing.add(workerChain(worker));
  for (const chain of await listChains(directory)) {
    missing.delete(chain.name);
    if (chain.name === "") continue;
    const from = { directory: chain.directory };
    chains.push({ chain, report: await verifyAudit({ ...options, publicKeyPem, from }) });
  }
  const ok = missing.size === 0 && chains.every(({ report }) => report.ok);
  return { ok, chains, missing: [...missing] };
}

async function verified(options: VerifyOptions): Promise<Verification> {
  const { from } = options;
  const directory = "directory" in from ? from.directory : undefined;
  const pem = options.publicKeyPem ?? (await ownPublicKey(directory));
  const key = createPublicKey(pem);
  // Read before the records: a log that is being written may only grow past it.
  const headText = directory === undefined ? undefined : await readOrUndefined(join(directory, HEAD_FILE));
  const files = "directory" in from ? await listSegments(from.directory) : from.files.map(namedSegment);
  if (files.length === 0 && headText === undefined)
    throw new Error(`no audit log in ${directory ?? "no files"}`);
  const head = headText === undefined ? undefined : parseHead(headText, key);
  const run = new Verification(files, { key, head, pruned: options.pruned ?? directory === undefined });
  await run.readAll();
  if (directory === undefined) run.warnings.push("single segments: a tail that was cut off cannot be found");
  else await run.compareHead(directory, headText !== undefined);
  return run;
}

async function ownPublicKey(directory: string | undefined): Promise<string> {
  if (directory === undefined) throw new Error("a public key is needed to verify single segments");
  const pem = await readOrUndefined(join(directory, PUBLIC_KEY_FILE));
  if (pem === undefined)
    throw new Error(`${join(directory, PUBLIC_KEY_FILE)} is missing, and no public key is given`);
  return pem;
}

function namedSegment(path: string): SegmentFile {
  const file = segmentFile(path);
  if (file === undefined) throw new Error(`${path} is not named like a segment of the audit log`);
  return file;
}
