import { mkdir, rename, rm } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { writeFileSync, rmSync, existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { nodeFileSystem, type FileSystem } from "../../src/audit/files.ts";
import { openAudit, type AuditLog, type AuditOptions } from "../../src/audit/log.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { temporaryDirectory } from "./directory.ts";
import { ALLOW, DONE, exchange, records, SUBJECT } from "./helpers.ts";

type Operation = Exclude<keyof FileSystem, "linked">;

const FAST = { retryMs: 1, retryMaxMs: 5, checkpointRecords: 4 };

/** Real files whose N-th operation of a kind fails, and `failures - 1` operations of any kind after it. */
function failing(kind: Operation | "short", nth: number, failures = 1) {
  let seen = 0;
  let left = 0;
  const state = { armed: false, fired: 0 };
  const fails = (operation: string) => {
    if (!state.armed) return false;
    if (left > 0 || (operation === kind && ++seen === nth)) {
      left = left > 0 ? left - 1 : failures - 1;
      state.fired++;
      return true;
    }
    return false;
  };
  const error = (operation: string) =>
    Object.assign(new Error(`ENOSPC: no space left, ${operation}`), { code: "ENOSPC" });
  const wrap =
    <A extends unknown[], T>(operation: Operation, run: (...args: A) => Promise<T>) =>
    (...args: A): Promise<T> =>
      fails(operation) ? Promise.reject(error(operation)) : run(...args);
  const files: FileSystem = {
    ...nodeFileSystem,
    open: wrap("open", nodeFileSystem.open),
    datasync: wrap("datasync", nodeFileSystem.datasync),
    truncate: wrap("truncate", nodeFileSystem.truncate),
    rename: wrap("rename", nodeFileSystem.rename),
    syncDirectory: wrap("syncDirectory", nodeFileSystem.syncDirectory),
    // The descriptor is closed all the same, as Linux does.
    close: async (fd) => {
      await nodeFileSystem.close(fd);
      if (fails("close")) throw error("close");
    },
    write: async (fd, data) => {
      if (fails("short")) {
        await nodeFileSystem.write(fd, data.subarray(0, Math.ceil(data.length / 2)));
        throw error("write");
      }
      return wrap("write", nodeFileSystem.write)(fd, data);
    },
  };
  return { files, state };
}

/** Opens a log whose recovery can be waited for. */
async function openWatched(options: Omit<AuditOptions, "on" | "durability"> & Partial<AuditOptions>) {
  const seen = { failures: 0, recovered: 0, lost: 0 };
  let wake = () => {};
  const audit = await openAudit({
    durability: "disk",
    limits: FAST,
    ...options,
    on: {
      failure: () => {
        seen.failures++;
        wake();
      },
      recovered: () => {
        seen.recovered++;
        wake();
      },
      lost: (n) => (seen.lost += n),
    },
  });
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { audit, seen, until };
}

/** Tries exchanges until one is refused or the attempts end; returns the acknowledged ids. */
async function drive(audit: AuditLog, count: number): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let index = 0; index < count; index++) {
    try {
      acknowledged.push(await exchange(audit));
    } catch (error) {
      expect(error).toMatchObject({ name: "ProxyFault", reason: "audit-unavailable" });
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  return acknowledged;
}

describe("a failing disk", () => {
  const operations: (Operation | "short")[] = [
    ...(["open", "write", "short", "datasync", "close", "rename", "syncDirectory"] as const),
  ];
  const cases = operations.flatMap((kind) =>
    [1, 2, 3, 5].flatMap((nth) => [1, 4].map((run) => [kind, nth, run] as const)),
  );

  test.each(cases)("%s number %i fails, %i in a row: closed, then whole again", async (kind, nth, run) => {
    const directory = await temporaryDirectory();
    const { files, state } = failing(kind, nth, run);
    const { audit, seen, until } = await openWatched({ directory, files, rotate: { octets: 3_000 } });
    state.armed = true;
    const acknowledged = await drive(audit, 14);
    if (state.fired > 0) await until(() => audit.healthy);
    acknowledged.push(await exchange(audit));
    await audit.close();
    const report = await verifyAudit({ from: { directory } });
    expect(report.problem).toBeUndefined();
    expect(report.warnings).toEqual([]);
    const all = await records(directory);
    const decided = new Set(all.map((record) => (record.type === "decision" ? record.id : "")));
    expect(acknowledged.filter((id) => !decided.has(id))).toEqual([]);
    expect(state.fired).toBe(run);
    expect(seen.failures).toBeGreaterThan(0);
    expect(report).toMatchObject({ openDecisions: 0, completions: report.decisions });
    expect(all.filter((record) => record.type === "recovered")).not.toEqual([]);
  });

  test("any operation failing at any time, under load: nothing acknowledged is lost", async () => {
    const directory = await temporaryDirectory();
    let failing = false;
    const rarely = <A extends unknown[], T>(run: (...args: A) => Promise<T>) => {
      return async (...args: A): Promise<T> => {
        if (failing && Math.random() < 0.05) throw Object.assign(new Error("EIO"), { code: "EIO" });
        return run(...args);
      };
    };
    const files: FileSystem = {
      open: rarely(nodeFileSystem.open),
      write: rarely((fd, data) =>
        nodeFileSystem.write(fd, data.subarray(0, 1 + Math.random() * data.length * 2)),
      ),
      datasync: rarely(nodeFileSystem.datasync),
      truncate: rarely(nodeFileSystem.truncate),
      close: nodeFileSystem.close,
      rename: rarely(nodeFileSystem.rename),
      syncDirectory: rarely(nodeFileSystem.syncDirectory),
      linked: nodeFileSystem.linked,
    };
    const { audit, seen, until } = await openWatched({
      directory,
      files,
      durability: "process",
      rotate: { octets: 20_000 },
    });
    failing = true;
    const acknowledged = (await Promise.all(Array.from({ length: 16 }, () => drive(audit, 40)))).flat();
    failing = false;
    await until(() => audit.healthy);
    await audit.close();
    expect(seen.failures).toBeGreaterThan(0);
    const report = await verifyAudit({ from: { directory } });
    expect(report).toMatchObject({
      ok: true,
      warnings: [],
      openDecisions: 0,
      decisions: acknowledged.length,
    });
  });

  test("refuses at once while it is down, keeps the completions of that time, and says how many were refused", async () => {
    const directory = await temporaryDirectory();
    const { files, state } = failing("write", 1, 3);
    const { audit, until } = await openWatched({ directory, files });
    const before = audit.begin(SUBJECT);
    await before.decide(ALLOW);
    state.armed = true;
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    expect(audit.healthy).toBe(false);
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    before.complete(DONE);
    await until(() => audit.healthy);
    await audit.close();
    const all = await records(directory);
    expect(all.find((record) => record.type === "recovered")).toMatchObject({
      cause: "failure",
      fault: "ENOSPC",
      refused: 2,
    });
    expect(all.filter((record) => record.type === "completion").map((record) => record.id)).toEqual([
      before.id,
    ]);
  });

  test("drops completions beyond the bound, counts them, and records the count", async () => {
    const directory = await temporaryDirectory();
    const { files, state } = failing("write", 1, 3);
    const { audit, seen, until } = await openWatched({
      directory,
      files,
      limits: { ...FAST, keptRecords: 4 },
    });
    const entries = Array.from({ length: 10 }, () => audit.begin(SUBJECT));
    await Promise.all(entries.map((entry) => entry.decide(ALLOW)));
    state.armed = true;
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toThrow();
    for (const entry of entries) entry.complete(DONE);
    await until(() => audit.healthy);
    await audit.close();
    const all = await records(directory);
    expect(seen.lost).toBe(6);
    expect(all.find((record) => record.type === "recovered")).toMatchObject({ lost: 6 });
    expect(all.filter((record) => record.type === "completion")).toHaveLength(4);
  });

  test("a write that hangs refuses within its bound, and service resumes when it returns", async () => {
    const directory = await temporaryDirectory();
    const held: (() => void)[] = [];
    let hang = false;
    const files: FileSystem = {
      ...nodeFileSystem,
      write: async (fd, data) => {
        if (hang) await new Promise<void>((resolve) => held.push(resolve));
        return nodeFileSystem.write(fd, data);
      },
    };
    const { audit, until } = await openWatched({ directory, files, limits: { ...FAST, writeMs: 20 } });
    hang = true;
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    hang = false;
    for (const release of held) release();
    await until(() => audit.healthy);
    await exchange(audit);
    await audit.close();
    expect((await records(directory)).find((record) => record.type === "recovered")).toMatchObject({
      cause: "stall",
      refused: 2,
    });
    expect((await verifyAudit({ from: { directory } })).problem).toBeUndefined();
  });

  test("a removed directory is noticed at the next record; the log goes on in a new one that says where it comes from", async () => {
    const directory = await temporaryDirectory();
    const { audit, until } = await openWatched({ directory });
    await exchange(audit);
    await rm(directory, { recursive: true });
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    await until(() => audit.healthy);
    await exchange(audit);
    await expect(openAudit({ directory, durability: "process" })).rejects.toThrow(
      /another process is writing/,
    );
    await audit.close();
    expect((await verifyAudit({ from: { directory } })).problem?.kind).toBe("segment-missing");
    expect(await verifyAudit({ from: { directory }, pruned: true })).toMatchObject({
      ok: true,
      recoveries: 1,
    });
  });

  test("a directory that was moved away is noticed at the next checkpoint", async () => {
    const directory = await temporaryDirectory();
    const { audit, seen, until } = await openWatched({ directory, limits: { ...FAST, checkpointMs: 5 } });
    await exchange(audit);
    await rename(directory, `${directory}-moved`);
    await until(() => seen.failures > 0);
    await until(() => audit.healthy);
    await exchange(audit);
    await audit.close();
    expect(await verifyAudit({ from: { directory }, pruned: true })).toMatchObject({
      ok: true,
      decisions: 1,
    });
    expect(await verifyAudit({ from: { directory: `${directory}-moved` } })).toMatchObject({
      ok: true,
      decisions: 1,
    });
  });

  test("close gives up in its time where the disk stays dead, and the next open goes on", async () => {
    const directory = await temporaryDirectory();
    const { files, state } = failing("short", 1, 10_000);
    const { audit } = await openWatched({ directory, files });
    await exchange(audit);
    state.armed = true;
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toThrow();
    await expect(audit.close()).rejects.toThrow(/could not be closed in order/);
    const next = await openAudit({ directory, durability: "process" });
    await exchange(next);
    await next.close();
    expect(await verifyAudit({ from: { directory } })).toMatchObject({ ok: true, decisions: 2 });
    expect((await records(directory)).find((record) => record.type === "recovered")).toMatchObject({
      cause: "open",
    });
  });
});

const mounts = (() => {
  const probe = "/tmp/sallyport-tmpfs-probe";
  try {
    execFileSync("mkdir", ["-p", probe]);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], { stdio: "ignore" });
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  }
})();

// Needs the right to mount; elsewhere the injected ENOSPC above stands for it.
describe.skipIf(!mounts)("a file system that is really full", () => {
  test("refuses while it is full and resumes by itself", async () => {
    const directory = await temporaryDirectory();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", directory]);
    try {
      await mkdir(join(directory, "log"));
      const { audit, until } = await openWatched({ directory: join(directory, "log") });
      await exchange(audit);
      const filler = join(directory, "filler");
      for (let size = 1 << 18; size >= 1; size >>= 1) {
        try {
          writeFileSync(filler, Buffer.alloc(size), { flag: "a" });
        } catch {
          // fuller now
        }
      }
      const acknowledged: string[] = [];
      await expect(
        (async () => {
          for (;;) acknowledged.push(await exchange(audit));
        })(),
      ).rejects.toMatchObject({ reason: "audit-unavailable", cause: { code: "ENOSPC" } });
      expect(existsSync(filler)).toBe(true);
      rmSync(filler);
      await until(() => audit.healthy);
      acknowledged.push(await exchange(audit));
      await audit.close();
      const report = await verifyAudit({ from: { directory: join(directory, "log") } });
      expect(report).toMatchObject({ ok: true, decisions: acknowledged.length + 1, openDecisions: 0 });
    } finally {
      execFileSync("umount", ["-l", directory]);
    }
  });
});
