// The store in one file of this machine, for one proxy: SQLite, write-ahead logged. Every operation is over in well under a
// millisecond, so that it may run on the loop.

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { Body, Change, Document, Draw, Kind, Read, Store, Write, Written } from "./types.ts";
import { StoreUnavailable } from "./types.ts";

/** Opens or makes it, readable for its owner alone. `:memory:` keeps nothing. */
export function openSqlite(file: string): Store {
  if (file !== ":memory:") mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return new SqliteStore(new DatabaseSync(file));
}

class SqliteStore {
  readonly #database: DatabaseSync;
  readonly #watching = new Set<() => void>();
  #healthy = true;

  constructor(database: DatabaseSync) {
    this.#database = database;
    database.exec(SCHEMA);
  }

  readonly healthy = (): boolean => this.#healthy;

  readonly read = (): Promise<Read<Document>> =>
    this.#do(() => {
      const rows = this.#all("SELECT kind, id, version, body FROM documents WHERE body IS NOT NULL");
      return { revision: this.#revision(), items: rows.map(documentOf) };
    });

  readonly changes = (after: number): Promise<Read<Change> | undefined> =>
    this.#do(() => {
      const rows = this.#all(
        "SELECT kind, id, version, body FROM documents WHERE revision > ? ORDER BY revision",
        after,
      );
      return { revision: this.#revision(), items: rows.map(changeOf) };
    });

  readonly write = async (writes: readonly Write[]): Promise<Written> => {
    const written = await this.#do(() => this.#transaction(() => this.#write(writes)));
    if (written.ok) queueMicrotask(() => this.#tell());
    return written;
  };

  readonly draw = ({ counter, window, until, amount, limit }: Draw): Promise<number> =>
    this.#do(() =>
      this.#transaction(() => {
        const spent = this.#spent(counter, window);
        const granted = amount < 0 ? Math.max(amount, -spent) : Math.max(0, Math.min(amount, limit - spent));
        this.#run(
          `INSERT INTO counters (counter, started, until, spent) VALUES (?, ?, ?, ?)
           ON CONFLICT (counter, started) DO UPDATE SET spent = spent + excluded.spent`,
          counter,
          window,
          until,
          granted,
        );
        return granted;
      }),
    );

  readonly spent = (counter: string, window: number): Promise<number> =>
    this.#do(() => this.#spent(counter, window));

  readonly watch = (changed: () => void): (() => void) => {
    this.#watching.add(changed);
    return () => void this.#watching.delete(changed);
  };

  readonly close = async (): Promise<void> => {
    this.#watching.clear();
    if (this.#database.isOpen) this.#database.close();
  };

  #write(writes: readonly Write[]): Written {
    const stale = writes.find(({ kind, id, version }) => this.#version(kind, id) !== version);
    if (stale !== undefined) return { ok: false, conflict: { kind: stale.kind, id: stale.id } };
    const revision = this.#revision() + 1;
    for (const { kind, id, body, version } of writes) {
      this.#run(
        "INSERT OR REPLACE INTO documents (kind, id, version, body, revision) VALUES (?, ?, ?, ?, ?)",
        kind,
        id,
        version + 1,
        body === undefined ? null : JSON.stringify(body),
        revision,
      );
    }
    this.#run("UPDATE revision SET revision = ?", revision);
    return { ok: true, revision, versions: writes.map(({ version }) => version + 1) };
  }

  #transaction<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  #version(kind: Kind, id: string): number {
    const [row] = this.#all("SELECT version, body FROM documents WHERE kind = ? AND id = ?", kind, id);
    return row === undefined || row["body"] === null ? 0 : Number(row["version"]);
  }

  #revision(): number {
    return Number(this.#all("SELECT revision FROM revision")[0]?.["revision"]);
  }

  #spent(counter: string, window: number): number {
    const [row] = this.#all("SELECT spent FROM counters WHERE counter = ? AND started = ?", counter, window);
    return Number(row?.["spent"] ?? 0);
  }

  #all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#database.prepare(sql).all(...values);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#database.prepare(sql).run(...values);
  }

  async #do<T>(work: () => T): Promise<T> {
    try {
      const result = work();
      this.#healthy = true;
      return result;
    } catch (error) {
      this.#healthy = false;
      throw new StoreUnavailable("the store's file cannot be used", error);
    }
  }

  #tell(): void {
    for (const changed of this.#watching) changed();
  }
}

function documentOf({ kind, id, version, body }: Record<string, unknown>): Document {
  return {
    kind: kind as Kind,
    id: String(id),
    version: Number(version),
    body: JSON.parse(String(body)) as Body,
  };
}

function changeOf(row: Record<string, unknown>): Change {
  if (row["body"] !== null) return documentOf(row);
  return { kind: row["kind"] as Kind, id: String(row["id"]), removed: true };
}

const SCHEMA = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 2000;
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT, revision INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_by_revision ON documents (revision);
CREATE TABLE IF NOT EXISTS counters (
  counter TEXT NOT NULL, started INTEGER NOT NULL, until INTEGER NOT NULL, spent INTEGER NOT NULL,
  PRIMARY KEY (counter, started)
) STRICT;
CREATE TABLE IF NOT EXISTS revision (revision INTEGER NOT NULL) STRICT;
INSERT INTO revision SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM revision);
`;
