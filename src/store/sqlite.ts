// The store in one file of this machine, for one proxy: SQLite, write-ahead logged. Documents are on the disk before a write is
// answered; draws are not waited for, so that a power cut (never a crash) may forget the last ones and no loop waits for a disk.

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { changeOf, documentOf, refuseUndrawable, refuseUnstorable, type Row, textOf } from "./documents.ts";
import { openFile, type SqliteFile } from "./sqlite-file.ts";
import type { Change, Document, Draw, Kind, Read, Store, Write, Written } from "./types.ts";
import { StoreUnavailable } from "./types.ts";

/** Opens or makes it, readable for its owner alone, and refuses it while another process has it. `:memory:` keeps nothing. */
export function openSqlite(file: string, now: () => number = Date.now): Store {
  return new SqliteStore(openFile(file), now);
}

class SqliteStore {
  readonly #database: DatabaseSync;
  readonly #check: SqliteFile["check"];
  readonly #now: () => number;
  readonly #statements = new Map<string, StatementSync>();
  readonly #watching = new Set<() => void>();
  #healthy = true;
  #forgetCountersAt = 0;
  #forgetRemovedAt = 0;

  constructor({ database, check }: SqliteFile, now: () => number) {
    this.#database = database;
    this.#check = check;
    this.#now = now;
  }

  readonly healthy = (): boolean => this.#healthy;

  readonly read = (): Promise<Read<Document>> =>
    this.#do(() => ({ revision: this.#revision().revision, items: this.#all(READ).map(documentOf) }));

  readonly changes = (after: number): Promise<Read<Change> | undefined> =>
    this.#do(() => {
      const { revision, floor } = this.#revision();
      if (after < floor || after > revision) return undefined;
      return { revision, items: this.#all(CHANGES, after).map(changeOf) };
    });

  readonly write = async (writes: readonly Write[]): Promise<Written> => {
    refuseUnstorable(writes);
    const written = await this.#do(() => this.#transaction(() => this.#write(writes)));
    if (written.ok) queueMicrotask(() => this.#tell());
    return written;
  };

  readonly draw = async (draw: Draw): Promise<number> => {
    refuseUndrawable(draw);
    const { counter, window, until, amount, limit } = draw;
    return this.#do(() => {
      if (this.#forgetCountersAt <= this.#now()) this.#forgetCounters();
      this.#run("PRAGMA synchronous = NORMAL");
      try {
        const values = { counter, window, until, amount, limit };
        return Number(this.#statement(DRAW).get(values)?.["granted"]);
      } finally {
        this.#run("PRAGMA synchronous = FULL");
      }
    });
  };

  readonly spent = (counter: string, window: number): Promise<number> =>
    this.#do(() => Number(this.#all(SPENT, counter, window)[0]?.["spent"] ?? 0));

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
    if (this.#forgetRemovedAt <= this.#now()) this.#forgetRemoved();
    const revision = this.#revision().revision + 1;
    for (const { kind, id, body, version } of writes) {
      const text = body === undefined ? null : textOf(body);
      this.#run(WRITE, kind, id, version + 1, text, revision, this.#now());
    }
    this.#run("UPDATE revision SET revision = ?", revision);
    return { ok: true, revision, versions: writes.map(({ version }) => version + 1) };
  }

  #forgetCounters(): void {
    this.#forgetCountersAt = this.#now() + FORGET_MS;
    this.#run("DELETE FROM counters WHERE until > 0 AND until < ?", this.#now() - SLACK_MS);
  }

  #forgetRemoved(): void {
    this.#forgetRemovedAt = this.#now() + FORGET_MS;
    const before = this.#now() - KEEP_MS;
    const last = this.#all(REMOVED, before)[0]?.["revision"] ?? 0;
    this.#run("DELETE FROM documents WHERE body IS NULL AND changed < ?", before);
    this.#run("UPDATE revision SET floor = max(floor, ?)", Number(last));
  }

  #transaction<T>(work: () => T): T {
    this.#run("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#run("COMMIT");
      return result;
    } catch (error) {
      // A full disk has rolled it back already.
      if (this.#database.isTransaction) this.#run("ROLLBACK");
      throw error;
    }
  }

  #version(kind: Kind, id: string): number {
    const [row] = this.#all("SELECT version, body FROM documents WHERE kind = ? AND id = ?", kind, id);
    return row === undefined || row["body"] === null ? 0 : Number(row["version"]);
  }

  #revision(): { revision: number; floor: number } {
    const [row] = this.#all("SELECT revision, floor FROM revision");
    return { revision: Number(row?.["revision"]), floor: Number(row?.["floor"]) };
  }

  #all(sql: string, ...values: SQLInputValue[]): readonly Row[] {
    return this.#statement(sql).all(...values);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  async #do<T>(work: () => T): Promise<T> {
    try {
      this.#check();
      const result = work();
      this.#healthy = true;
      return result;
    } catch (error) {
      this.#healthy = false;
      throw error instanceof StoreUnavailable
        ? error
        : new StoreUnavailable("the store's file cannot be used", error);
    }
  }

  #tell(): void {
    for (const changed of this.#watching) changed();
  }
}

const READ = "SELECT kind, id, version, body FROM documents WHERE body IS NOT NULL";
const CHANGES = "SELECT kind, id, version, body FROM documents WHERE revision > ? ORDER BY revision";
const WRITE = `
INSERT OR REPLACE INTO documents (kind, id, version, body, revision, changed) VALUES (?, ?, ?, ?, ?, ?)`;
const REMOVED = "SELECT max(revision) AS revision FROM documents WHERE body IS NULL AND changed < ?";
const SPENT = "SELECT spent FROM counters WHERE counter = ? AND started = ?";
const DRAW = `
INSERT INTO counters AS c (counter, started, until, spent, granted)
VALUES ($counter, $window, $until, max(0, min($amount, $limit)), max(0, min($amount, $limit)))
ON CONFLICT (counter, started) DO UPDATE SET
  until = excluded.until,
  spent = c.spent + iif($amount < 0, max($amount, -c.spent), max(0, min($amount, $limit - c.spent))),
  granted = iif($amount < 0, max($amount, -c.spent), max(0, min($amount, $limit - c.spent)))
RETURNING granted`;
/** How often it is looked for what nobody asks for any more. */
const FORGET_MS = 60_000;
/** Of several machines' clocks. */
const SLACK_MS = 600_000;
/** How long a removal is told of; who was away for longer reads everything anew. */
const KEEP_MS = 3_600_000;
