// The files of the trust anchor: what may read them, how they come to stand whole. It never says what a file holds.

import type { Stats } from "node:fs";
import { access, open, readFile } from "node:fs/promises";

/** Its message is for the operator: what is wrong with which file, and how to mend it. */
export class TrustAnchorError extends Error {
  override readonly name = "TrustAnchorError";
}

export async function readKeyFile(path: string): Promise<string> {
  return attempt(`read ${path}`, async () => {
    await using file = await open(path, "r");
    refuseExposed(path, await file.stat());
    return file.readFile("utf8");
  });
}

/** PostgreSQL's rule: 0600 or less; a key that root owns and lends to this user's group may be 0640. */
export function refuseExposed(path: string, { mode, uid }: Pick<Stats, "mode" | "uid">): void {
  const me = process.geteuid?.();
  const readable = me !== undefined && me !== 0 && uid === 0 ? 0o037 : 0o077;
  if (process.platform === "win32" || (mode & readable) === 0) return;
  throw new TrustAnchorError(
    `${path} can be read by others than its owner (mode ${(mode & 0o777).toString(8).padStart(4, "0")}): chmod 600 ${path}`,
  );
}

export const readText = (path: string): Promise<string> =>
  attempt(`read ${path}`, () => readFile(path, "utf8"));

export async function writeNew(path: string, text: string, mode: number): Promise<void> {
  await using file = await open(path, "wx", mode);
  await file.writeFile(text);
  await file.sync();
}

export async function restrict(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.chmod(0o600);
}

export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return false;
    throw new TrustAnchorError(`cannot look for ${path}: ${messageOf(cause)}`, { cause });
  }
}

export async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof TrustAnchorError) throw cause;
    throw new TrustAnchorError(`cannot ${what}: ${messageOf(cause)}`, { cause });
  }
}

export const codeOf = (cause: unknown): unknown => (cause as NodeJS.ErrnoException).code;
export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
