// Old segments of the audit log are deleted by whoever may order it, recorded first; never what is being written, and nothing while a
// lockdown stands.

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startSallyport, type Sallyport } from "../../src/assemble.ts";
import { openAudit } from "../../src/audit/log.ts";
import { oldSegments, removeSegments } from "../../src/audit/prune.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditRecords } from "../support/audit-records.ts";
import { type ApiAnswer, callApi } from "../support/api.ts";

const DAY = 86_400_000;
let directory: string;
let audit: string;
let sallyport: Sallyport | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-prune-"));
  audit = join(directory, "data", "audit");
  // A day each, the newest of them of 96 days ago.
  let at = Date.now() - 100 * DAY;
  for (let day = 0; day < 5; day++) {
    const log = await openAudit({ directory: audit, durability: "process", now: () => at });
    log.note("control", { day });
    await log.close();
    at += DAY;
  }
});
afterEach(async () => {
  await sallyport?.stop();
  sallyport = undefined;
  await rm(directory, { recursive: true });
});

async function start(): Promise<void> {
  await writeFile(
    join(directory, "sallyport.yaml"),
    `listen: ["127.0.0.1:0"]\nadmin: "127.0.0.1:0"\nlog: { level: silent }\npolicies: { default: {} }\n`,
  );
  const stream = { isTTY: false, write: () => true, close: async () => {} };
  sallyport = await startSallyport({ cwd: directory, env: process.env, stream });
}

const segments = async (): Promise<string[]> =>
  (await readdir(audit)).filter((name) => name.endsWith(".jsonl")).toSorted();

function prune(body: object): Promise<ApiAnswer> {
  const socketPath = join(directory, "data/admin.sock");
  return callApi({ socketPath }, { method: "POST", path: "/v1/audit/prune", body });
}

describe("at somebody's order", () => {
  test("what was over by then goes, recorded first, and the rest is whole", async () => {
    await start();
    const before = await segments();
    expect(before).toHaveLength(6);
    const tried = await prune({ older_than: "97d", preview: true });
    expect(tried.body).toEqual({ segments: 3, octets: expect.any(Number) });
    expect(await segments()).toEqual(before);

    expect((await prune({ older_than: "97d" })).body).toEqual(tried.body);
    expect(await segments()).toEqual(before.slice(3));
    const records = await auditRecords(audit);
    expect(
      records.find(({ fields }) => (fields as { action?: string })?.action === "audit.prune"),
    ).toMatchObject({
      type: "control",
      fields: {
        object: "primary",
        role: "admin",
        segments: 3,
        octets: tried.body.octets,
        through: before[2],
      },
    });
    expect((await prune({ older_than: "97d" })).body).toEqual({ segments: 0, octets: 0 });
    await sallyport?.stop();
    expect((await verifyLog(audit, { pruned: true })).ok).toBe(true);
    expect((await verifyLog(audit, {})).ok).toBe(false);
    await start();
    expect(await segments()).toHaveLength(before.length - 3);
  });

  test("what is being written stays, however old it may be", async () => {
    await start();
    expect((await prune({ older_than: "1h" })).body).toMatchObject({ segments: 4 });
    // The last of them was over when the newest was begun, which is now.
    expect(await segments()).toHaveLength(2);
  });

  test("nothing goes while a lockdown stands, of one or of all, and it goes again when it is lifted", async () => {
    await start();
    const actor = { name: "cli:root", role: "admin", from: "local" } as const;
    const control = sallyport?.control;
    if (control === undefined) throw new Error("it does not run");
    const policies = { setup: "default", agent: "default" };
    await control.register(actor, { id: "task", policies, phase: "agent", labels: {} });
    const before = await segments();
    for (const sandbox of ["task", "*"]) {
      await control.lockDown(actor, sandbox, "a leak is being looked for");
      const refused = await prune({ older_than: "1h" });
      expect([refused.status, refused.body.detail]).toEqual([
        409,
        `the lockdown of ${sandbox === "*" ? "all" : "task"} holds audit data (a leak is being looked for): nothing is deleted until it is lifted`,
      ]);
      expect((await prune({ older_than: "1h", preview: true })).status).toBe(409);
      expect(await segments()).toEqual(before);
      await control.lift(actor, sandbox, "found");
    }
    expect((await prune({ older_than: "1h" })).status).toBe(200);
  });

  test.each(["59m", "0s", "-1d", "", 90])("older_than: %s", async (older_than) => {
    await start();
    expect((await prune({ older_than })).status).toBe(400);
    expect(await segments()).toHaveLength(6);
  });
});

test("a hold that comes in the middle keeps what is still there, and that is whole", async () => {
  const [old] = await oldSegments(audit, Date.now());
  if (old === undefined) throw new Error("nothing is old");
  let left = 2;
  const held = removeSegments(old, () => {
    if (left-- === 0) throw new Error("held");
  });
  await expect(held).rejects.toThrow("held");
  expect(await segments()).toHaveLength(3);
  expect((await verifyLog(audit, { pruned: true })).ok).toBe(true);
});

test("a clock that was set back makes nothing old that follows something new", async () => {
  const before = (await segments()).length;
  const log = await openAudit({ directory: audit, durability: "process" });
  await log.close();
  const back = await openAudit({
    directory: audit,
    durability: "process",
    now: () => Date.now() - 300 * DAY,
  });
  await back.close();
  const [old] = await oldSegments(audit, Date.now() - 50 * DAY);
  expect(old?.files).toHaveLength(before - 1);
});
