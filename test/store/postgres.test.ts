import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { openStore } from "../../src/assemble/store.ts";
import { parsePostgresUrl, type PostgresUrl } from "../../src/net/postgres-url.ts";
import { Secret } from "../../src/net/secret.ts";
import { openPostgres } from "../../src/store/postgres.ts";
import { type Store, StoreUnavailable, type Write } from "../../src/store/types.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { createCa } from "../support/pki.ts";
import { NO_POSTGRES, PASSWORD, type Postgres, startPostgres } from "../support/postgres.ts";
import { conforms } from "./conformance.ts";
import { eventually } from "../support/eventually.ts";

const log = { info: vi.fn(), warn: vi.fn() };

function read(url: string): PostgresUrl {
  const address = parsePostgresUrl(url);
  if ("problem" in address) throw new Error(address.problem);
  return address;
}

const opened: Store[] = [];
async function open(url: string, more: { anchors?: string[]; patienceMs?: number } = {}): Promise<Store> {
  const store = await openPostgres({ address: read(url), anchors: [], log, patienceMs: 1_000, ...more });
  opened.push(store);
  return store;
}
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
  log.info.mockClear();
  log.warn.mockClear();
});
const sandbox = (id: string, version = 0): Write => ({ kind: "sandbox", id, body: {}, version });
const removed = (id: string, version: number): Write => ({ ...sandbox(id, version), body: undefined });
const draw = (counter: string, until: number) => ({ counter, window: 1, until, amount: 5, limit: 9 });

const ca = createCa();
let postgres: Postgres;
let directory: string;
/** Of the database that was made last. */
let url: string;
const name = (): string => new URL(url).pathname.slice(1);
const sql = (text: string): Promise<Record<string, unknown>[]> => postgres.sql(name(), text);
const fresh = async (): Promise<string> => (url = await postgres.database());

/** What is left of it when the store is refused; without the password, wherever one looks. */
async function refused(work: Promise<unknown>): Promise<Error> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreUnavailable);
  const told = `${inspect(error, { depth: 9, showHidden: true })}${JSON.stringify(log.warn.mock.calls)}`;
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(told).not.toContain(secret);
  return error as Error;
}

describe.skipIf(NO_POSTGRES !== undefined)(`PostgreSQL (${NO_POSTGRES ?? "a real one"})`, () => {
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "sallyport-store-"));
    const { cert, key } = ca.issue({ names: ["localhost"] });
    postgres = await startPostgres({ tls: { certificate: cert, key, authority: ca.cert } });
  }, 60_000);
  afterAll(async () => {
    await postgres.destroy();
    rmSync(directory, { recursive: true, force: true });
  });

  conforms({
    open: async () => {
      const one = await fresh();
      return { store: await open(one), again: () => open(one) };
    },
    shared: true,
    cutOff: async () => {
      await postgres.stop();
      return () => postgres.start();
    },
  });

  describe("the schema", () => {
    test("ten replicas that start at once make it once", async () => {
      await fresh();
      const stores = await Promise.all(Array.from({ length: 10 }, () => open(url)));
      expect(await sql("SELECT version, needs FROM sallyport.migrations")).toEqual([
        { version: 1, needs: 1 },
      ]);
      await stores[3]!.write([sandbox("a")]);
      expect((await stores[7]!.read()).items).toHaveLength(1);
    });

    test("a replica that stands in the middle of making it holds the others up, and its end frees them", async () => {
      await fresh();
      const pid = await postgres.hold(name(), "SELECT pg_advisory_lock(8313474985839685490)");
      const opening = open(url, { patienceMs: 10_000 });
      await expect(Promise.race([opening, later(300)])).resolves.toBe("later");
      expect(await sql("SELECT to_regnamespace('sallyport') AS made")).toEqual([{ made: null }]);
      await sql(`SELECT pg_terminate_backend(${String(pid)})`);
      expect((await (await opening).read()).items).toEqual([]);
    });

    test("a newer version's that this one can use is used; one that it cannot use is refused at once", async () => {
      await fresh();
      await open(url);
      await sql("INSERT INTO sallyport.migrations (version, needs) VALUES (9, 1)");
      await (await open(url)).write([sandbox("a")]);
      await sql("INSERT INTO sallyport.migrations (version, needs) VALUES (10, 10)");
      const { message } = await refused(open(url, { patienceMs: 30_000 }));
      expect(message).toContain("a newer version of Sallyport has changed the database (schema 10)");
      expect(await sql("SELECT count(*)::int AS n FROM sallyport.migrations")).toEqual([{ n: 3 }]);
    });

    test("a role that owns the schema alone is enough, then one that may only use the tables", async () => {
      await fresh();
      await sql(`
        CREATE ROLE owner_${name()} LOGIN PASSWORD 'x'; CREATE ROLE user_${name()} LOGIN PASSWORD 'x';
        ALTER DATABASE ${name()} OWNER TO postgres; REVOKE ALL ON DATABASE ${name()} FROM PUBLIC;
        GRANT CONNECT ON DATABASE ${name()} TO owner_${name()}, user_${name()};
        CREATE SCHEMA sallyport AUTHORIZATION owner_${name()}`);
      const as = (role: string): string =>
        `postgres://${role}_${name()}:x@127.0.0.1:${postgres.port}/${name()}`;
      await open(as("owner"));
      await refused(open(as("user"), { patienceMs: 30_000 }));
      await sql(`
        GRANT USAGE ON SCHEMA sallyport TO user_${name()};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sallyport TO user_${name()}`);
      const store = await open(as("user"));
      await store.write([sandbox("a")]);
      expect(await store.draw(draw("c", 0))).toBe(5);
    });

    test("a database that cannot hold every text is refused at once", async () => {
      await postgres.sql(
        "postgres",
        "CREATE DATABASE ascii OWNER sallyport ENCODING 'SQL_ASCII' TEMPLATE template0",
      );
      const { message } = await refused(
        open((await fresh()).replace(/[^/]+$/, "ascii"), { patienceMs: 30_000 }),
      );
      expect(message).toContain("encoding is SQL_ASCII, not UTF8");
    });

    test("the database's own defaults change nothing", async () => {
      await fresh();
      await sql(`ALTER DATABASE ${name()} SET default_transaction_isolation = 'serializable'`);
      await sql(`CREATE SCHEMA odd; ALTER DATABASE ${name()} SET search_path = odd`);
      await sql(
        "CREATE FUNCTION odd.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
      );
      const stores = await Promise.all([open(url), open(url)]);
      const got = await Promise.all(
        Array.from({ length: 30 }, (_, n) => stores[n % 2]!.draw({ ...draw("c", 0), limit: 100 })),
      );
      expect(got.reduce((a, b) => a + b)).toBe(100);
    });
  });

  describe("who it is", () => {
    test("a wrong password or database is refused at once, and told without the password", async () => {
      await fresh();
      const wrong = await refused(open(url.replace(/:[^:@]+@/, ":wrong@"), { patienceMs: 30_000 }));
      expect(wrong.message).toContain("password authentication failed");
      const nowhere = await refused(open(url.replace(/[^/]+$/, "nowhere"), { patienceMs: 30_000 }));
      expect(nowhere.message).toContain("does not exist");
      expect(log.warn).not.toHaveBeenCalled();
    });

    test("nothing is taken from the environment", async () => {
      await fresh();
      vi.stubEnv("PGPASSWORD", PASSWORD);
      vi.stubEnv("PGSSLMODE", "require");
      vi.stubEnv("PGOPTIONS", "-c default_transaction_read_only=on");
      try {
        await refused(open(url.replace(/:[^:@]+@/, "@"), { patienceMs: 30_000 }));
        await (await open(url)).write([sandbox("a")]);
      } finally {
        vi.unstubAllEnvs();
      }
    });

    test("as the configuration names it; in the clear across a network, every start says so", async () => {
      await fresh();
      // Any address that is this machine's and not its loopback's will do.
      const exposed = `${url.replace("127.0.0.1", "0.0.0.0")}?sslmode=disable`;
      for (const [text, warnings] of [
        [url, 0],
        [exposed, 1],
      ] as const) {
        const store = await openStore({ kind: "postgres", url: new Secret(text) }, log as unknown as Log);
        opened.push(store);
        expect(await store.read()).toMatchObject({ revision: 0 });
        expect(log.warn).toHaveBeenCalledTimes(warnings);
      }
      const file = join(directory, "store.db");
      const embedded = await openStore({ kind: "sqlite", file }, log as unknown as Log);
      opened.push(embedded);
      expect(existsSync(file)).toBe(true);
    });

    test("by a Unix socket", async () => {
      await fresh();
      const store = await open(
        `postgres://sallyport@/${name()}?host=${postgres.directory}`.replace(
          "@/",
          `@localhost:${postgres.port}/`,
        ),
      );
      expect(await store.write([sandbox("a")])).toMatchObject({ ok: true });
    });

    const anchors = (): string => {
      const file = join(directory, "anchors.pem");
      writeFileSync(file, ca.cert);
      return file;
    };
    const named = (more: string): string => `${url.replace("127.0.0.1", "localhost")}?${more}`;

    test("with TLS, by the trust anchors of the URL or by those handed in", async () => {
      await fresh();
      await open(named(`sslmode=verify-full&sslrootcert=${anchors()}`));
      await open(named("sslmode=verify-full"), { anchors: [ca.cert] });
      const connections = await sql(`
        SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'sallyport' AND datname = '${name()}'`);
      expect(connections).toEqual([{ ssl: true }]);
    });

    test("with a certificate of its own", async () => {
      await fresh();
      const client = ca.issue({ commonName: "sallyport", usage: "clientAuth" });
      const [certificate, key] = [join(directory, "client.crt"), join(directory, "client.key")];
      writeFileSync(certificate, client.cert);
      writeFileSync(key, client.key);
      await open(named(`sslrootcert=${anchors()}&sslcert=${certificate}&sslkey=${key}`));
      const [shown] = await sql(`
        SELECT DISTINCT client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'sallyport' AND datname = '${name()}'`);
      expect(shown?.["client_dn"]).toContain("sallyport");
      const { message } = await refused(
        open(named(`sslrootcert=${anchors()}&sslcert=/nowhere&sslkey=${key}`)),
      );
      expect(message).toContain("ENOENT");
    });

    test("a certificate of somebody else's, or with another name, is refused", async () => {
      await fresh();
      await refused(open(named("sslmode=verify-full"), { anchors: [createCa().cert] }));
      const { message } = await refused(open(`${url}?sslmode=verify-full&sslrootcert=${anchors()}`));
      expect(message).toMatch(/IP: 127\.0\.0\.1 is not in the cert's list/);
    });

    test("a server that will not do TLS is told nothing", async () => {
      await fresh();
      const heard: Buffer[] = [];
      const sockets: Socket[] = [];
      const server = createServer((socket) => {
        sockets.push(socket);
        socket.on("data", (chunk) => {
          heard.push(chunk);
          socket.write("N");
        });
        socket.on("error", () => {});
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as { port: number };
      await refused(open(`postgres://sallyport:secret@localhost:${port}/x?sslmode=verify-full`));
      // SSLRequest, once for each attempt.
      expect(new Set(heard.map((chunk) => chunk.toString("hex")))).toEqual(new Set(["0000000804d2162f"]));
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  });

  describe("when the database is not there", () => {
    test("at the start it is waited for, for a while", async () => {
      await fresh();
      await postgres.stop();
      await refused(open(url, { patienceMs: 400 }));
      expect(log.warn).toHaveBeenCalledWith("waiting for the store's database", expect.anything());
      const opening = open(url, { patienceMs: 20_000 });
      await postgres.start();
      expect(await (await opening).write([sandbox("a")])).toMatchObject({ ok: true });
    });

    test("a server that takes connections and says nothing delays no operation beyond its bound", async () => {
      await fresh();
      const store = await open(url);
      await store.write([sandbox("a")]);
      postgres.freeze();
      try {
        const from = performance.now();
        const operations = [
          ...Array.from({ length: 20 }, (_, n) => store.write([sandbox(`b${n}`)])),
          ...Array.from({ length: 20 }, () => store.draw(draw("c", 0))),
          store.spent("c", 0),
        ];
        for (const { status } of await Promise.allSettled(operations)) expect(status).toBe("rejected");
        expect(performance.now() - from).toBeLessThan(2_500);
        expect(store.healthy()).toBe(false);
        await refused(open(url, { patienceMs: 100 }));
      } finally {
        postgres.thaw();
      }
      await eventually(async () => expect(await store.write([sandbox("z")])).toMatchObject({ ok: true }));
      expect(log.info).toHaveBeenCalledWith("the store's database is back");
    });

    test("what waits is bounded", async () => {
      await fresh();
      const store = await open(url);
      postgres.freeze();
      const waiting = Promise.allSettled(Array.from({ length: 1_000 }, () => store.draw(draw("c", 0))));
      const from = performance.now();
      expect((await refused(store.draw(draw("c", 0)))).message).toContain("too much waits");
      expect(performance.now() - from).toBeLessThan(500);
      postgres.thaw();
      await waiting;
    });

    test("killed under load, it loses nothing that was acknowledged and gives nothing twice", async () => {
      await fresh();
      const [first, second] = [await open(url), await open(url)] as const;
      await first.read();
      const acknowledged = new Set<string>();
      let drawn = 0;
      const running = { now: true };
      const load = async (store: Store, writer: string): Promise<void> => {
        for (let n = 0; running.now; n++) {
          try {
            await store.write([sandbox(`${writer}${n}`)]);
            acknowledged.add(`${writer}${n}`);
            drawn += await store.draw({ counter: "c", window: 0, until: 0, amount: 3, limit: 100_000 });
          } catch (error) {
            expect(error).toBeInstanceOf(StoreUnavailable);
            await later(20);
          }
        }
      };
      const loads = [load(first, "a"), load(first, "b"), load(second, "c"), load(second, "d")];
      for (let round = 0; round < 2; round++) {
        const before = acknowledged.size;
        await eventually(() => expect(acknowledged.size).toBeGreaterThan(before + 50));
        await postgres.kill();
        await postgres.start();
        await eventually(() => expect(first.healthy() && second.healthy()).toBe(true));
      }
      running.now = false;
      await Promise.all(loads);
      const { items } = await second.read();
      const kept = new Set(items.map(({ id }) => id));
      expect([...acknowledged].filter((id) => !kept.has(id))).toEqual([]);
      // An answer that was cut off may have been spent: never the other way round.
      expect(await first.spent("c", 0)).toBeGreaterThanOrEqual(drawn);
    });

    test("after a loss everything is read anew, and whoever watches is told", async () => {
      await fresh();
      const [store, other] = [await open(url), await open(url)] as const;
      const { revision } = await store.read();
      expect(await store.changes(revision)).toBeDefined();
      const changed = vi.fn();
      store.watch(changed);
      await postgres.kill();
      await eventually(() => expect(store.healthy()).toBe(false));
      await postgres.start();
      await eventually(() => expect(changed).toHaveBeenCalled());
      await eventually(async () => expect(await store.changes(revision)).toBeUndefined());
      await eventually(async () => expect(await other.write([sandbox("a")])).toMatchObject({ ok: true }));
      const again = await store.read();
      expect(again.items).toHaveLength(1);
      expect(await store.changes(again.revision)).toBeDefined();
    });

    test("a standby is neither read nor written; promoted, it is used", async () => {
      await fresh();
      const store = await open(url);
      await store.write([sandbox("a")]);
      await postgres.stop();
      await postgres.startAsStandby();
      await refused(store.write([sandbox("b")]));
      await refused(store.draw(draw("c", 0)));
      await eventually(async () =>
        expect((await refused(store.read())).cause).toMatchObject({
          message: expect.stringContaining("standby"),
        }),
      );
      await sql("SELECT pg_promote()");
      await eventually(async () => expect((await store.read()).items).toHaveLength(1));
      await eventually(async () => expect(await store.write([sandbox("b")])).toMatchObject({ ok: true }));
    });

    test("connections that were ended behind its back are made anew", async () => {
      await fresh();
      const [store, other] = [await open(url), await open(url)] as const;
      const changed = vi.fn();
      store.watch(changed);
      await sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sallyport' AND datname = '${name()}'`,
      );
      await eventually(async () => {
        changed.mockClear();
        await other.write([sandbox(`s${Math.random()}`)]);
        await vi.waitFor(() => expect(changed).toHaveBeenCalled(), { timeout: 400 });
      });
      expect((await store.read()).items.length).toBeGreaterThan(0);
    });

    test("while it cannot listen it asks, several times a second", async () => {
      await fresh();
      const [store, other] = [await open(url), await open(url)] as const;
      await store.read();
      await other.read();
      await other.write([sandbox("a")]);
      await sql("ALTER ROLE sallyport CONNECTION LIMIT 1");
      try {
        await sql(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name()}' AND usename = 'sallyport' AND query LIKE '%FROM sallyport.revision WHERE%'`,
        );
        const changed = vi.fn();
        store.watch(changed);
        await later(700);
        changed.mockClear();
        await other.write([sandbox("b")]);
        await vi.waitFor(() => expect(changed).toHaveBeenCalled(), { timeout: 1_000 });
        expect((await store.read()).items).toHaveLength(2);
        expect(store.healthy()).toBe(true);
      } finally {
        await sql("ALTER ROLE sallyport CONNECTION LIMIT -1");
      }
    });

    test("a writer that stands still holds up no draws, and other writers for their bound", async () => {
      await fresh();
      const store = await open(url);
      const pid = await postgres.hold(name(), "SELECT FROM sallyport.revision FOR UPDATE");
      const writes = Promise.all([1, 2, 3, 4].map((n) => refused(store.write([sandbox(`s${n}`)]))));
      expect(await store.draw(draw("c", 0))).toBe(5);
      expect((await store.read()).items).toEqual([]);
      await writes;
      await sql(`SELECT pg_terminate_backend(${String(pid)})`);
      await eventually(async () => expect(await store.write([sandbox("a")])).toMatchObject({ ok: true }));
    });
  });

  test("counters that are over are forgotten, and removals that are long ago", async () => {
    await fresh();
    const store = await open(url);
    const hour = 3_600_000;
    await store.draw(draw("over", Date.now() - hour));
    await store.draw(draw("recent", Date.now() - 300_000));
    await store.draw(draw("lasting", 0));
    await store.draw({ ...draw("ended", 0) });
    await store.draw({ ...draw("ended", Date.now() - hour), amount: 0 });
    await store.write([sandbox("a"), sandbox("b"), sandbox("c")]);
    await store.write([removed("a", 1)]);
    await store.write([removed("b", 1)]);
    await sql("UPDATE sallyport.documents SET changed = now() - interval '2 hours' WHERE id = 'a'");
    const other = await open(url);
    await eventually(async () => expect(await other.spent("over", 1)).toBe(0));
    await eventually(async () =>
      expect(await sql("SELECT floor::int FROM sallyport.revision")).toEqual([{ floor: 2 }]),
    );
    expect(await sql("SELECT counter FROM sallyport.counters ORDER BY 1")).toEqual([
      { counter: "lasting" },
      { counter: "recent" },
    ]);
    expect(await sql("SELECT id FROM sallyport.documents ORDER BY 1")).toEqual([{ id: "b" }, { id: "c" }]);
    await other.read();
    expect(await other.changes(1)).toBeUndefined();
    expect((await other.changes(2))?.items).toEqual([{ kind: "sandbox", id: "b", removed: true }]);
  });
});

const later = (ms: number): Promise<string> => new Promise((resolve) => setTimeout(resolve, ms, "later"));
