// The file of the embedded store: made for its owner alone, held by one process at a time, with the schema that this version
// knows. A file that was taken away or replaced while it was open is never used and never made anew, as it would lack lockdowns.

import { chmodSync, closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StoreUnavailable } from "./types.ts";

export type SqliteFile = {
  readonly database: DatabaseSync;
  /** Throws where the file is no longer the one that was opened. */
  readonly check: () => void;
};

export function openFile(file: string): SqliteFile {
  if (file === MEMORY) return { database: prepared(new DatabaseSync(file)), check: () => {} };
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    closeSync(openSync(file, "a", 0o600));
    // One that was copied here may be anybody's to read. SQLite gives the files beside it the same mode.
    chmodSync(file, 0o600);
    const database = prepared(new DatabaseSync(file, { timeout: BUSY_MS }));
    const opened = statSync(file).ino;
    return { database, check: () => refuseReplaced(file, opened) };
  } catch (error) {
    throw new StoreUnavailable(`the store ${file} cannot be opened: ${whyNot(error)}`, error);
  }
}

function prepared(database: DatabaseSync): DatabaseSync {
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    if (text(database, "PRAGMA quick_check(1)") !== "ok") throw new Error("it is damaged");
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    const version = Number(text(database, "PRAGMA user_version"));
    if (version > VERSION) throw new Error(`a newer version of Sallyport made it (schema ${version})`);
    // Takes the lock, too, which is held until the database is closed.
    database.exec(`BEGIN IMMEDIATE; ${SCHEMA}; PRAGMA user_version = ${VERSION}; COMMIT`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function text(database: DatabaseSync, sql: string): string {
  return String(Object.values(database.prepare(sql).get() ?? {})[0]);
}

function refuseReplaced(file: string, opened: number): void {
  if (statSync(file, { throwIfNoEntry: false })?.ino !== opened)
    throw new StoreUnavailable(`the store ${file} was taken away or replaced while it was open`);
}

function whyNot(error: unknown): string {
  switch (codeOf(error)) {
    case BUSY:
      return "another process uses it";
    case CORRUPT:
    case NOT_A_DATABASE:
      return "it is damaged";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** The primary code in the lowest octet of the extended one. */
const codeOf = (error: unknown): number => ((error as { errcode?: number }).errcode ?? 0) & 0xff;

const MEMORY = ":memory:";
const VERSION = 1;
const BUSY_MS = 2_000;
const BUSY = 5;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
const SCHEMA = `
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT,
  revision INTEGER NOT NULL, changed INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_by_revision ON documents (revision);
CREATE INDEX IF NOT EXISTS documents_removed ON documents (changed) WHERE body IS NULL;
CREATE TABLE IF NOT EXISTS counters (
  counter TEXT NOT NULL, started INTEGER NOT NULL, until INTEGER NOT NULL,
  spent INTEGER NOT NULL, granted INTEGER NOT NULL,
  PRIMARY KEY (counter, started)
) STRICT;
CREATE INDEX IF NOT EXISTS counters_over ON counters (until) WHERE until > 0;
CREATE TABLE IF NOT EXISTS revision (revision INTEGER NOT NULL, floor INTEGER NOT NULL) STRICT;
INSERT INTO revision SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM revision)
`;
