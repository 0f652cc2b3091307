// Opens the audit log: takes the directory's lock and key, finds where the chain ended, and hands out the log.
// It must never start a second writer, nor a new chain beside an old one.

import { mkdir } from "node:fs/promises";
import { listSegments, nodeFileSystem, type FileSystem } from "./files.ts";
import { openSigner } from "./keys.ts";
import { DEFAULT_LIMITS, type AuditEvents, type AuditLimits } from "./limits.ts";
import { lockDirectory } from "./lock.ts";
import { recoveredBody, type Privacy } from "./record.ts";
import { resume } from "./recover.ts";
import type { Audit } from "./types.ts";
import { WriteAheadLog } from "./write-ahead.ts";
import { DIRECTORY_MODE, SegmentWriter } from "./writer.ts";

export type AuditOptions = {
  readonly directory: string;
  /** `process`: write(2) returned. `disk`: fdatasync as well. */
  readonly durability: "process" | "disk";
  readonly rotate?: { readonly octets?: number; readonly daily?: boolean };
  readonly privacy?: Privacy;
  /** Private key (PKCS#8 PEM, Ed25519), if it is not to lie beside the log. */
  readonly keyFile?: string;
  readonly now?: () => number;
  readonly files?: FileSystem;
  readonly limits?: Partial<AuditLimits>;
  readonly on?: AuditEvents;
};

export type AuditLog = Audit & {
  /** SPKI PEM; also in `audit.pub`. */
  readonly publicKey: string;
  /** Writes what waits, signs the end and lets go of the directory. */
  close(): Promise<void>;
};

const ROTATE_OCTETS = 128 * 1024 * 1024;

/** Opens or continues the log in the directory; rejects where it cannot be written or another process holds it. */
export async function openAudit(options: AuditOptions): Promise<AuditLog> {
  const { directory, files = nodeFileSystem, now = Date.now, privacy = "standard" } = options;
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  const lock = lockDirectory(directory);
  try {
    const mayCreate = (await listSegments(directory)).length === 0;
    const signer = await openSigner(directory, { keyFile: options.keyFile, mayCreate });
    const from = await resume(directory, signer.publicKeyPem);
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const log = new WriteAheadLog(
      { directory, privacy, now, limits, on: options.on ?? {} },
      lock,
      signer.publicKeyPem,
    );
    const writer = new SegmentWriter(
      {
        directory,
        durability: options.durability,
        rotate: { octets: options.rotate?.octets ?? ROTATE_OCTETS, daily: options.rotate?.daily ?? true },
        privacy,
        checkpointRecords: limits.checkpointRecords,
        now,
        files,
        signer,
        onFailure: (error) => log.fail(error),
      },
      from,
    );
    try {
      await writer.open(from);
      await writer.append(from.found === undefined ? [] : [recoveredBody(from.found, now())], {
        checkpoint: true,
      });
    } catch (error) {
      await writer.abandon().catch(() => {});
      throw error;
    }
    log.start(writer);
    return log;
  } catch (error) {
    lock.release();
    throw error;
  }
}
