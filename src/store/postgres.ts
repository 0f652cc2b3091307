// The store in PostgreSQL, for several replicas. Every operation ends within its bound, whatever the database does, and one that
// failed is given up together with its connection; what was asked may have been done all the same, and is never asked twice.

import { setTimeout as sleep } from "node:timers/promises";
import { type Client, Pool } from "pg";
import type { PostgresUrl } from "../net/postgres-url.ts";
import type { Log } from "../telemetry/log.ts";
import { refuseUndrawable, refuseUnstorable } from "./documents.ts";
import { Clients, mayPass, plainError, type Queries, within } from "./postgres-connection.ts";
import { Follower } from "./postgres-follow.ts";
import { migrate } from "./postgres-schema.ts";
import {
  changesAfter,
  currentRevision,
  drawFrom,
  forget,
  readAll,
  spentOf,
  writeAll,
} from "./postgres-statements.ts";
import type { Change, Document, Draw, Read, Store, Write, Written } from "./types.ts";
import { StoreUnavailable } from "./types.ts";

export type PostgresOptions = {
  readonly address: PostgresUrl;
  /** In PEM: those by whom the server is verified where the address names no file. */
  readonly anchors: readonly string[];
  readonly log: Pick<Log, "info" | "warn">;
  /** How long a database is waited for that is not there yet. */
  readonly patienceMs?: number;
};

/** Makes or updates the tables first. Rejects at once where waiting does not help, such as with a wrong password. */
export async function openPostgres(options: PostgresOptions): Promise<Store> {
  const { address, anchors, log, patienceMs = PATIENCE_MS } = options;
  let clients: Clients;
  try {
    clients = new Clients(address, anchors);
  } catch (error) {
    throw new StoreUnavailable(`the store cannot be used: ${plainError(error).message}`, plainError(error));
  }
  await untilMigrated(clients, performance.now() + patienceMs, log);
  const store = new PostgresStore(clients, log);
  await store.followed;
  return store;
}

async function untilMigrated(clients: Clients, until: number, log: PostgresOptions["log"]): Promise<void> {
  for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 2_000)) {
    const client = clients.make({ connectMs: BOUND_MS, statementMs: MIGRATION_MS });
    try {
      await within(BOUND_MS, client.connect());
      await within(MIGRATION_MS, migrate(client));
      return;
    } catch (error) {
      const plain = plainError(error);
      if (!mayPass(error) || performance.now() + waitMs >= until)
        throw new StoreUnavailable(`the store cannot be used: ${plain.message}`, plain);
      log.warn("waiting for the store's database", { error: plain.message });
    } finally {
      void client.end();
    }
    await sleep(waitMs);
  }
}

class PostgresStore {
  readonly #log: PostgresOptions["log"];
  /** Writers would wait for one another in the database anyhow; here they leave the rest of the connections alone. */
  readonly #writers: Pool;
  readonly #others: Pool;
  readonly #follower: Follower;
  readonly #watching = new Set<() => void>();
  #waiting = 0;
  #healthy = true;
  /** Of the connection that tells of changes; another one may be another server's, which lacks what the last one knew. */
  #era = 0;
  #eraRead = -1;

  constructor(clients: Clients, log: PostgresOptions["log"]) {
    this.#log = log;
    const patience = { connectMs: CONNECT_MS, statementMs: STATEMENT_MS };
    const pool = (max: number): Pool => poolOf(clients.classOf(patience), max);
    this.#writers = pool(1);
    this.#others = pool(READERS);
    this.#follower = new Follower({
      client: () => clients.make(patience),
      poll: () => this.#do(this.#others, currentRevision),
      changed: () => this.#tell(),
      anew: () => void this.#era++,
      answered: () => this.#answered(),
      tidy: () => this.#do(this.#writers, forget),
      boundMs: BOUND_MS,
    });
  }

  get followed(): Promise<void> {
    return this.#follower.attempted;
  }

  readonly healthy = (): boolean => this.#healthy;

  readonly read = async (): Promise<Read<Document>> => {
    const era = this.#era;
    const read = await this.#do(this.#others, readAll, READ_MS);
    this.#eraRead = era;
    return read;
  };

  readonly changes = async (after: number): Promise<Read<Change> | undefined> => {
    if (this.#eraRead !== this.#era) return undefined;
    return this.#do(this.#others, (client) => changesAfter(client, after));
  };

  readonly write = async (writes: readonly Write[]): Promise<Written> => {
    refuseUnstorable(writes);
    const written = await this.#do(this.#writers, (client) => writeAll(client, writes));
    // The notification may be late, or lost with its connection.
    if (written.ok) queueMicrotask(() => this.#tell());
    return written;
  };

  readonly draw = async (draw: Draw): Promise<number> => {
    refuseUndrawable(draw);
    return this.#do(this.#others, (client) => drawFrom(client, draw));
  };

  readonly spent = (counter: string, window: number): Promise<number> =>
    this.#do(this.#others, (client) => spentOf(client, counter, window));

  readonly watch = (changed: () => void): (() => void) => {
    this.#watching.add(changed);
    return () => void this.#watching.delete(changed);
  };

  readonly close = async (): Promise<void> => {
    this.#watching.clear();
    await Promise.all([this.#follower.close(), endOf(this.#writers), endOf(this.#others)]);
  };

  async #do<T>(pool: Pool, work: (client: Queries) => Promise<T>, boundMs = BOUND_MS): Promise<T> {
    if (this.#waiting >= WAITING) throw new StoreUnavailable("too much waits for the database already");
    this.#waiting++;
    try {
      const result = await bounded(pool, work, performance.now() + boundMs);
      this.#answered();
      return result;
    } catch (error) {
      const plain = plainError(error);
      this.#failed(plain);
      throw new StoreUnavailable("the store's database cannot be used", plain);
    } finally {
      this.#waiting--;
    }
  }

  #answered(): void {
    if (!this.#healthy) this.#log.info("the store's database is back");
    this.#healthy = true;
  }

  #failed({ message }: Error): void {
    if (this.#healthy) this.#log.warn("the store's database is lost", { error: message });
    this.#healthy = false;
  }

  #tell(): void {
    for (const changed of this.#watching) changed();
  }
}

function poolOf(made: new () => Client, max: number): Pool {
  const pool = new Pool({
    Client: made,
    max,
    connectionTimeoutMillis: CONNECT_MS,
    idleTimeoutMillis: IDLE_MS,
  });
  // An idle connection that ended: the pool has let go of it.
  pool.on("error", () => {});
  return pool;
}

async function bounded<T>(pool: Pool, work: (client: Queries) => Promise<T>, until: number): Promise<T> {
  const client = await pool.connect();
  let done = false;
  try {
    const result = await within(until - performance.now(), work(client));
    done = true;
    return result;
  } finally {
    client.release(!done);
  }
}

async function endOf(pool: Pool): Promise<void> {
  if (!pool.ending) await within(BOUND_MS, pool.end()).catch(() => {});
}

const PATIENCE_MS = 30_000;
const MIGRATION_MS = 60_000;
const CONNECT_MS = 1_500;
const STATEMENT_MS = 1_800;
/** From the call to its answer. */
const BOUND_MS = 2_000;
/** Of everything that there is. */
const READ_MS = 10_000;
const IDLE_MS = 60_000;
const READERS = 3;
const WAITING = 1_000;
