// A real PostgreSQL of the tests' own: a cluster in a directory of its own, on a free port of the loopback and a Unix socket,
// never as root, ended by its process id.

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  accessSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Client } from "pg";

export type Postgres = {
  readonly port: number;
  /** Of the Unix socket. */
  readonly directory: string;
  /** Makes a database and gives its URL, over TCP with a password. */
  database(): Promise<string>;
  /** Runs SQL as the superuser. */
  sql(database: string, text: string): Promise<Record<string, unknown>[]>;
  /** Runs SQL in a transaction that stays open until its process, whose id is given, is ended. */
  hold(database: string, text: string): Promise<number>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** SIGKILL to all of its processes. */
  kill(): Promise<void>;
  /** Starts as a standby, which can be read and not written, until `SELECT pg_promote()`. */
  startAsStandby(): Promise<void>;
  /** All of its processes stand still. */
  freeze(): void;
  thaw(): void;
  /** Stopped, and removed. */
  destroy(): Promise<void>;
};

export type PostgresOptions = {
  /** Files in PEM for the server. */
  readonly tls?: {
    readonly certificate: string;
    readonly key: string;
    /** By whom clients' certificates are made. */
    readonly authority: string;
  };
};

/** Where its programs are; `undefined`: scripts/setup-tests.sh has not been run. */
export const POSTGRES = findPostgres();
/** Why its tests are skipped, for their titles; where CI is set they are run all the same, and fail. */
export const NO_POSTGRES =
  POSTGRES === undefined && process.env["CI"] === undefined
    ? "no PostgreSQL on this machine: scripts/setup-tests.sh installs it"
    : undefined;

export const PASSWORD = "correct horse/battery@staple";
export const USER = "sallyport";

export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  if (POSTGRES === undefined) throw new Error("no PostgreSQL on this machine: run scripts/setup-tests.sh");
  const root = mkdtempSync(join(tmpdir(), "sallyport-postgres-"));
  const cluster = new Cluster(POSTGRES, root);
  try {
    await cluster.create(options);
    await cluster.start();
    await cluster.sql("postgres", `CREATE ROLE ${USER} LOGIN PASSWORD '${PASSWORD}'`);
    return cluster;
  } catch (error) {
    await cluster.destroy();
    throw error;
  }
}

class Cluster implements Postgres {
  readonly #programs: string;
  readonly #root: string;
  readonly #data: string;
  readonly #user = unprivileged();
  readonly #ended = (): void => this.#signal("SIGKILL");
  #server: ChildProcess | undefined;
  #databases = 0;
  port = 0;

  constructor(programs: string, root: string) {
    this.#programs = programs;
    this.#root = root;
    this.#data = join(root, "data");
    process.on("exit", this.#ended);
  }

  get directory(): string {
    return this.#root;
  }

  async create({ tls }: PostgresOptions): Promise<void> {
    this.#own(this.#root);
    mkdirSync(this.#data, { mode: 0o700 });
    this.#own(this.#data);
    const password = join(this.#root, "password");
    writeFileSync(password, PASSWORD);
    this.#own(password);
    const auth = ["--auth-local=trust", "--auth-host=scram-sha-256", `--pwfile=${password}`];
    await promisify(execFile)(
      join(this.#programs, "initdb"),
      [...auth, "-D", this.#data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync"],
      { cwd: this.#root, ...this.#user },
    );
    const settings = { ...SETTINGS, unix_socket_directories: `'${this.#root}'` };
    const lines = Object.entries(settings).map(([key, value]) => `${key} = ${value}`);
    if (tls !== undefined) {
      const files = { "server.crt": tls.certificate, "server.key": tls.key, "clients.crt": tls.authority };
      for (const [name, text] of Object.entries(files)) {
        writeFileSync(join(this.#data, name), text, { mode: 0o600 });
        this.#own(join(this.#data, name));
      }
      lines.push("ssl = on", "ssl_ca_file = 'clients.crt'");
    }
    writeFileSync(join(this.#data, "postgresql.auto.conf"), `${lines.join("\n")}\n`);
  }

  async start(): Promise<void> {
    const until = Date.now() + START_MS;
    for (;;) {
      if (this.port === 0) this.port = await freePort();
      const args = ["-D", this.#data, "-p", String(this.port), "-c", "listen_addresses=127.0.0.1"];
      const server = spawn(join(this.#programs, "postgres"), args, {
        cwd: this.#root,
        stdio: ["ignore", "ignore", "pipe"],
        ...this.#user,
      });
      this.#server = server;
      let said = "";
      server.stderr?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
      while (server.exitCode === null && server.signalCode === null && Date.now() < until) {
        if (await this.#answers()) return;
        await sleep(20);
      }
      // The last one's memory may still be in use just after a SIGKILL.
      if (Date.now() >= until) throw new Error(`PostgreSQL does not start: ${said}`);
      await sleep(100);
    }
  }

  async startAsStandby(): Promise<void> {
    const signal = join(this.#data, "standby.signal");
    writeFileSync(signal, "");
    this.#own(signal);
    await this.start();
  }

  async database(): Promise<string> {
    const name = `test${++this.#databases}`;
    await this.sql("postgres", `CREATE DATABASE ${name} OWNER ${USER}`);
    return `postgres://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${this.port}/${name}`;
  }

  async hold(database: string, text: string): Promise<number> {
    const client = await this.#session(database);
    await client.query(`BEGIN; ${text}`);
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    return rows[0]?.pid ?? 0;
  }

  async #session(database: string): Promise<Client> {
    const client = new Client({
      host: this.#root,
      port: this.port,
      user: SUPERUSER,
      database,
      ssl: false,
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  async sql(database: string, text: string): Promise<Record<string, unknown>[]> {
    const client = await this.#session(database);
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  async kill(): Promise<void> {
    this.#signal("SIGKILL", this.#backends());
    await this.#end("SIGKILL");
  }

  freeze(): void {
    this.#signal("SIGSTOP");
    this.#signal("SIGSTOP", this.#backends());
  }

  thaw(): void {
    this.#signal("SIGCONT", this.#backends());
    this.#signal("SIGCONT");
  }

  async destroy(): Promise<void> {
    this.thaw();
    await this.stop();
    process.off("exit", this.#ended);
    rmSync(this.#root, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill(signal);
    const late = setTimeout(() => server.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(late);
  }

  async #answers(): Promise<boolean> {
    try {
      await this.sql("postgres", "SELECT 1");
      return true;
    } catch {
      return false;
    }
  }

  #backends(): number[] {
    const pid = this.#server?.pid;
    if (pid === undefined) return [];
    try {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      return children
        .trim()
        .split(" ")
        .map(Number)
        .filter((child) => child > 0);
    } catch {
      return [];
    }
  }

  #signal(
    signal: NodeJS.Signals,
    pids = this.#server?.exitCode === null ? [this.#server.pid ?? 0] : [],
  ): void {
    for (const pid of pids) {
      try {
        if (pid > 0) process.kill(pid, signal);
      } catch {
        // It has ended by itself.
      }
    }
  }

  #own(path: string): void {
    if (this.#user.uid !== undefined) chownSync(path, this.#user.uid, this.#user.gid ?? 0);
  }
}

function findPostgres(): string | undefined {
  const packaged = "/usr/lib/postgresql";
  const versions = (() => {
    try {
      return readdirSync(packaged).sort((a, b) => Number(b) - Number(a));
    } catch {
      return [];
    }
  })();
  const places = [
    ...versions.map((version) => join(packaged, version, "bin")),
    ...(process.env["PATH"] ?? "").split(":"),
  ];
  return places.find((place) => {
    try {
      accessSync(join(place, "initdb"));
      accessSync(join(place, "postgres"));
      return true;
    } catch {
      return false;
    }
  });
}

/** Debian's package makes a user for it; root may not run it. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const of = (what: string): number => Number(execFileSync("id", [what, "postgres"], { encoding: "utf8" }));
  return { uid: of("-u"), gid: of("-g") };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

const SUPERUSER = "postgres";
const START_MS = 30_000;
const STOP_MS = 10_000;
/** A test's data need not outlive the machine, only the processes. */
const SETTINGS = { fsync: "off", shared_buffers: "'16MB'", max_connections: 60, autovacuum: "off" };
