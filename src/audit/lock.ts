// One writer a directory. The lock is the kernel's (SQLite's exclusive file lock), so that a killed process leaves none
// behind and two containers that share a volume are told apart, which process ids cannot do.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LOCK_FILE } from "./files.ts";

const SQLITE_BUSY = 5;

export type Lock = {
  /** Locks anew where the directory was removed and made again. */
  renew(): void;
  release(): void;
};

export function lockDirectory(directory: string): Lock {
  let held = take(directory);
  return {
    renew: () => {
      if (existsSync(join(directory, LOCK_FILE))) return;
      const renewed = take(directory);
      held.close();
      held = renewed;
    },
    release: () => held.close(),
  };
}

function take(directory: string): DatabaseSync {
  const database = openDatabase(directory);
  try {
    // Takes the lock without writing an octet: it works on a full disk as well.
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new Error(`another process is writing the audit log in ${directory}`, { cause: error });
  }
  return database;
}

function openDatabase(directory: string): DatabaseSync {
  try {
    return new DatabaseSync(join(directory, LOCK_FILE), { timeout: 0 });
  } catch (error) {
    throw new Error(`the audit log's directory ${directory} cannot be written`, { cause: error });
  }
}
