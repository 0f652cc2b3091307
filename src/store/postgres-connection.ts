// How the database is reached: whom it must prove to be, for how long anything is waited for, and nothing from the environment,
// which pg would otherwise read. No password leaves here in an error.

import { readFileSync } from "node:fs";
import { Client, type ClientConfig, DatabaseError, type PoolClient } from "pg";
import type { PostgresTls, PostgresUrl } from "../net/postgres-url.ts";

export type Queries = Pick<PoolClient, "query">;

/** Milliseconds, of a connection. */
export type Patience = {
  /** Until it is there. */
  readonly connectMs: number;
  /** Of one statement, and of one that waits for a lock; told to the server, so that it gives up as well. */
  readonly statementMs: number;
};

/** Makes one client after another. Files are read for each anew, as certificates are renewed; throws where one cannot be at first. */
export class Clients {
  readonly #address: PostgresUrl;
  readonly #anchors: readonly string[];
  #tls: ClientConfig["ssl"];

  constructor(address: PostgresUrl, anchors: readonly string[]) {
    this.#address = address;
    this.#anchors = anchors;
    this.#tls = address.tls === undefined ? false : tlsOf(address.tls, anchors);
  }

  make(patience: Patience): Client {
    const client = new Client(this.#config(patience));
    // Whoever waits for an answer is told; an end while nobody waits is found when the next asks.
    client.on("error", () => {});
    return client;
  }

  /** For a pool, whose own settings say nothing about the server. */
  classOf(patience: Patience): new () => Client {
    const make = (): ClientConfig => this.#config(patience);
    return class extends Client {
      constructor() {
        super(make());
        this.on("error", () => {});
      }
    };
  }

  #config({ connectMs, statementMs }: Patience): ClientConfig {
    const { server, port, user, password, database } = this.#address;
    return {
      host: "directory" in server ? server.directory : server.host,
      port,
      user,
      database,
      // A function: what is empty would be looked for in the environment and in ~/.pgpass.
      password: () => {
        if (password !== undefined) return password.reveal();
        throw new Hopeless("the database asks for a password, and the store's URL has none");
      },
      ssl: this.#freshTls(),
      sslnegotiation: "postgres",
      client_encoding: "utf8",
      application_name: "sallyport",
      // Whatever the database's own defaults are.
      options: "-c search_path=pg_catalog -c default_transaction_isolation=read\\ committed",
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: connectMs,
      statement_timeout: statementMs,
      lock_timeout: statementMs,
      idle_in_transaction_session_timeout: statementMs,
    };
  }

  #freshTls(): ClientConfig["ssl"] {
    const { tls } = this.#address;
    if (tls === undefined) return false;
    try {
      this.#tls = tlsOf(tls, this.#anchors);
    } catch {
      // In the middle of being replaced: what was read last stays good.
    }
    return this.#tls;
  }
}

function tlsOf({ anchors: file, certificate }: PostgresTls, anchors: readonly string[]): ClientConfig["ssl"] {
  return {
    ca: file === undefined ? [...anchors] : readFileSync(file, "latin1"),
    minVersion: "TLSv1.2",
    ...(certificate && {
      cert: readFileSync(certificate.chain, "latin1"),
      key: readFileSync(certificate.key, "latin1"),
    }),
  };
}

/** What became of `work`, or an error at the end of the time; the client is of no use after that. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the database did not answer in time")), Math.max(ms, 0));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What happened, for whoever reads it: the server's words and code, none of the values that it adds. */
export function plainError(error: unknown): Error {
  const { message, code } = error as { message?: unknown; code?: unknown };
  const words = typeof message === "string" && message !== "" ? message : "the database cannot be reached";
  return new Error(typeof code === "string" ? `${words} (${code})` : words);
}

/** Waiting does not help. */
export class Hopeless extends Error {}

/** Whether it may be otherwise in a while: everything but what the server itself says of who asks, and for what. */
export function mayPass(error: unknown): boolean {
  if (error instanceof Hopeless) return false;
  if (!(error instanceof DatabaseError)) return true;
  return PASSING.has((error.code ?? "").slice(0, 2));
}

/** Classes of SQLSTATE: connection, transaction rolled back, resources, not in the state for it, asked to stop, system. */
const PASSING: ReadonlySet<string> = new Set(["08", "40", "53", "55", "57", "58", "25"]);
