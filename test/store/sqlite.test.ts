import { execFile } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openSqlite } from "../../src/store/sqlite.ts";
import { type Store, StoreUnavailable } from "../../src/store/types.ts";
import { conforms } from "./conformance.ts";

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-store-"));
  file = join(directory, "deep/er/store.db");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("SQLite", () => {
  conforms({
    open: async () => ({ store: openSqlite(file), again: async () => openSqlite(file) }),
    shared: false,
    cutOff: async () => {
      renameSync(file, `${file}.away`);
      return async () => renameSync(`${file}.away`, file);
    },
  });
});

const opened: Store[] = [];
const open = (now?: () => number): Store => {
  const store = openSqlite(file, now);
  opened.push(store);
  return store;
};
afterEach(() => Promise.all(opened.splice(0).map((store) => store.close())));
const sandbox = (id: string, version = 0) => ({ kind: "sandbox", id, body: {}, version }) as const;
const draw = (counter: string, until: number) => ({ counter, window: 1, until, amount: 5, limit: 9 });

describe("the file", () => {
  test("is its owner's alone, and so are those beside it", async () => {
    const store = open();
    await store.write([sandbox("a")]);
    for (const one of [file, `${file}-wal`]) expect(statSync(one).mode & 0o777).toBe(0o600);
    expect(existsSync(`${file}-shm`)).toBe(false);
    expect(statSync(join(directory, "deep")).mode & 0o777).toBe(0o700);
    await store.close();
    chmodSync(file, 0o644);
    open();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test("is refused while another has it, and free once that is killed", async () => {
    const script = `
      import { openSqlite } from ${JSON.stringify(join(import.meta.dirname, "../../src/store/sqlite.ts"))};
      openSqlite(${JSON.stringify(file)}).write([{ kind: "sandbox", id: "a", body: {}, version: 0 }]).then(() => {
        console.log("written");
        setInterval(() => {}, 1_000);
      });`;
    const child = execFile(process.execPath, ["--input-type=module", "-e", script]);
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    expect(() => openSqlite(file)).toThrow(/store\.db cannot be opened: another process uses it/);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect((await open().read()).items).toHaveLength(1);
  });

  test.each([
    [
      "another program's",
      () => writeFileSync(file, "not a database, but long enough to be looked at as one".repeat(99)),
    ],
    ["a damaged one", () => damage()],
  ])("%s is refused, and left as it is", async (_, spoil) => {
    mkdirSync(join(directory, "deep/er"), { recursive: true });
    spoil();
    const before = readFileSync(file);
    expect(() => openSqlite(file)).toThrow(StoreUnavailable);
    expect(() => openSqlite(file)).toThrow(/it is damaged/);
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test("a newer version's is refused", async () => {
    await open().close();
    const database = new DatabaseSync(file);
    database.exec("PRAGMA user_version = 2");
    database.close();
    expect(() => openSqlite(file)).toThrow(/a newer version of Sallyport made it/);
  });

  test("a directory in its place is refused", () => {
    mkdirSync(file, { recursive: true });
    expect(() => openSqlite(file)).toThrow(StoreUnavailable);
  });

  test("one that was put in its place is not used", async () => {
    const store = open();
    await store.write([{ kind: "lockdown", id: "*", body: {}, version: 0 }]);
    renameSync(file, `${file}.away`);
    writeFileSync(file, "");
    await expect(store.read()).rejects.toThrow(/was taken away or replaced/);
    await expect(store.write([sandbox("a")])).rejects.toThrow(StoreUnavailable);
    expect(readFileSync(file, "latin1")).toBe("");
  });

  function damage(): void {
    const database = new DatabaseSync(file);
    database.exec("CREATE TABLE t (x TEXT); CREATE INDEX i ON t (x)");
    for (let n = 0; n < 500; n++) database.exec(`INSERT INTO t VALUES ('${String(n).repeat(20)}')`);
    database.close();
    const content = readFileSync(file);
    content.fill(0xa5, 4096, 4096 * 3);
    writeFileSync(file, content);
  }
});

describe("a full disk", () => {
  const mounted = process.getuid?.() === 0 && existsSync("/bin/mount");
  test.skipIf(!mounted)("refuses writes, keeps what there is, and recovers", async () => {
    const mount = join(directory, "small");
    mkdirSync(mount);
    await promisify(execFile)("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]);
    try {
      file = join(mount, "store.db");
      const store = open();
      await store.write([sandbox("a")]);
      writeFileSync(join(mount, "ballast"), "x".repeat(60_000));
      const body = { text: "x".repeat(50_000) };
      let written = 0;
      const fill = async (): Promise<void> => {
        for (; written < 20; written++) await store.write([{ ...sandbox(`big${written}`), body }]);
      };
      await expect(fill()).rejects.toThrow(StoreUnavailable);
      expect(store.healthy()).toBe(false);
      expect((await store.read()).items).toHaveLength(written + 1);
      rmSync(join(mount, "ballast"));
      expect(await store.write([sandbox("a", 1)])).toMatchObject({ ok: true });
      expect(store.healthy()).toBe(true);
      await store.close();
    } finally {
      await promisify(execFile)("umount", [mount]);
    }
  });
});

describe("what nobody asks for any more", () => {
  const hour = 3_600_000;

  test("counters are forgotten ten minutes after their window", async () => {
    let now = 10 * hour;
    const store = open(() => now);
    await store.draw(draw("over", now));
    await store.draw(draw("lasting", 0));
    await store.draw(draw("later", now + hour));
    now += 600_000;
    await store.draw(draw("x", 0));
    expect(await store.spent("over", 1)).toBe(5);
    now += 60_001;
    await store.draw(draw("x", 0));
    expect(await store.spent("over", 1)).toBe(0);
    expect(await store.spent("lasting", 1)).toBe(5);
    expect(await store.spent("later", 1)).toBe(5);
  });

  test("the last draw says until when", async () => {
    let now = 10 * hour;
    const store = open(() => now);
    await store.draw(draw("ends", 0));
    await store.draw({ ...draw("ends", now), amount: 0 });
    now += hour;
    await store.draw(draw("x", 0));
    expect(await store.spent("ends", 1)).toBe(0);
  });

  test("removals are told of for an hour; who was away for longer is told so", async () => {
    let now = 10 * hour;
    const store = open(() => now);
    await store.write([sandbox("a"), sandbox("b")]);
    await store.write([{ ...sandbox("a", 1), body: undefined }]);
    now += hour;
    await store.write([sandbox("c")]);
    expect((await store.changes(1))?.items).toHaveLength(2);
    now += 60_001;
    await store.write([{ ...sandbox("b", 1), body: undefined }]);
    expect(await store.changes(1)).toBeUndefined();
    expect((await store.changes(2))?.items).toHaveLength(2);
    await store.close();
    const database = new DatabaseSync(file);
    expect(database.prepare("SELECT id FROM documents WHERE body IS NULL").all()).toEqual([{ id: "b" }]);
    database.close();
  });
});

test(":memory: keeps nothing", async () => {
  const store = openSqlite(":memory:");
  await store.write([sandbox("a")]);
  expect((await store.read()).items).toHaveLength(1);
  await store.close();
  expect(existsSync(":memory:")).toBe(false);
});
