// A log of several chains: read as one, verified as one, and missed where one is gone.

import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { listChains } from "../../src/audit/chains.ts";
import { openAudit } from "../../src/audit/log.ts";
import type { AuditRecord } from "../../src/audit/schema.ts";
import { tailAudit, type TailOptions } from "../../src/audit/tail.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { temporaryDirectory } from "./directory.ts";
import { ALLOW, DONE, SUBJECT } from "./helpers.ts";

/** The primary's chain says that two served; each served one exchange, in turns of a second. */
async function written(): Promise<string> {
  const directory = await temporaryDirectory();
  let at = Date.parse("2026-11-22T08:00:00Z");
  const now = () => (at += 500);
  const primary = await openAudit({ directory, durability: "process", now });
  const keyFile = join(directory, "audit.key");
  const open = (slot: number) =>
    openAudit({ directory: join(directory, `worker-${slot}`), keyFile, durability: "process", now });
  const workers = [await open(2), await open(10)];
  for (const [index, worker] of workers.entries()) {
    primary.note("worker", { event: "started", worker: index === 0 ? 2 : 10 });
    const entry = worker.begin({ ...SUBJECT, host: `h${index}.example` });
    await entry.decide(ALLOW);
    entry.complete(DONE);
  }
  for (const log of [...workers, primary]) await log.close();
  return directory;
}

async function read(options: TailOptions): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const record of tailAudit(options)) records.push(record);
  return records;
}

test("the workers' chains come after the directory's own, by number; what else lies there is none", async () => {
  const directory = await written();
  await cp(join(directory, "worker-2"), join(directory, "worker-two"), { recursive: true });
  await cp(join(directory, "audit.pub"), join(directory, "worker-3", "audit.pub"), { recursive: true });
  expect((await listChains(directory)).map(({ name }) => name)).toEqual(["", "worker-2", "worker-10"]);
});

test("they are read as one, by time; completions with their decisions", async () => {
  const directory = await written();
  const records = await read({ directory, from: "start", follow: false });
  const times = records.map(({ at }) => at);
  expect(times).toEqual(times.toSorted());
  expect(records.filter(({ type }) => type === "segment")).toHaveLength(3);
  const filter = { host: "h1.example" };
  const some = await read({ directory, from: 5, follow: false, filter });
  expect(some.map(({ type }) => type)).toEqual(["decision", "completion"]);
});

test("they are verified with one key, which their own directories cannot replace", async () => {
  const directory = await written();
  const whole = await verifyLog(directory, {});
  expect(whole).toMatchObject({ ok: true, missing: [] });
  expect(whole.chains.map(({ report }) => report.decisions)).toEqual([0, 1, 1]);

  // A chain forged whole, with a key of its own beside it.
  await rm(join(directory, "worker-2"), { recursive: true });
  await (await openAudit({ directory: join(directory, "worker-2"), durability: "process" })).close();
  const forged = await verifyLog(directory, {});
  expect(forged.ok).toBe(false);
  expect(forged.chains[1]?.report.problem?.kind).toBe("key-mismatch");
});

test("one record changed in one of them is named", async () => {
  const directory = await written();
  const at = join(directory, "worker-10");
  const [segment = ""] = (await readdir(at)).filter((name) => name.endsWith(".jsonl"));
  const text = await readFile(join(at, segment), "utf8");
  await writeFile(join(at, segment), text.replace("h1.example", "h2.example"));
  const { ok, chains } = await verifyLog(directory, {});
  expect(ok).toBe(false);
  expect(chains.map(({ report }) => report.ok)).toEqual([true, true, false]);
  expect(chains[2]?.report.problem?.kind).toBe("changed");
});

test("one that served and is gone is missed", async () => {
  const directory = await written();
  await rm(join(directory, "worker-10"), { recursive: true });
  expect(await verifyLog(directory, {})).toMatchObject({ ok: false, missing: ["worker-10"] });
});
