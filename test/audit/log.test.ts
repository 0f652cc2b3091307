import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import { auditRecord } from "../../src/audit/schema.ts";
import { tailAudit } from "../../src/audit/tail.ts";
import { temporaryDirectory } from "./directory.ts";
import { ALLOW, DENY, DONE, exchange, records, SUBJECT, segments } from "./helpers.ts";

describe("openAudit", () => {
  test("a decision that is made as the batch before it ends is written as well", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process" });
    for (let count = 0; count < 20; count++) await audit.begin(SUBJECT).decide(ALLOW);
    await audit.close();
    const decisions = (await records(directory)).filter(({ type }) => type === "decision");
    expect(decisions).toHaveLength(20);
  });

  test("writes a decision before decide() resolves, and the completion after it", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", now: () => Date.UTC(2026, 10, 22, 8) });
    const entry = audit.begin(SUBJECT);
    await entry.decide(ALLOW);
    const written = (await records(directory)).at(-1);
    expect(written).toEqual({
      v: 1,
      seq: 3,
      at: "2026-11-22T08:00:00.000Z",
      writer: expect.any(String),
      type: "decision",
      id: entry.id,
      kind: "request",
      tunnel: "t-1",
      connection: "c-1",
      sandbox: "ci-runner",
      method: "GET",
      host: "registry.example",
      verdict: "allow",
      stage: "address",
      source: "127.0.0.1:40000",
      phase: "agent",
      policy: "default",
      generation: 3,
      scheme: "https",
      port: 443,
      path: "/left-pad",
      query: "?[redacted]",
      rule: { id: "preset:npm", source: "preset:npm" },
      preset: "npm",
      handling: "intercept",
      addresses: ["192.0.2.1"],
      hash: expect.any(String),
    });
    entry.complete(DONE);
    audit.note("stop", { signal: "SIGTERM" });
    await audit.close();
    const all = await records(directory);
    expect(all.map((record) => record.type)).toEqual([
      "segment",
      "checkpoint",
      "decision",
      "completion",
      "stop",
      "checkpoint",
    ]);
    for (const record of all) expect(auditRecord.safeParse(record).error).toBeUndefined();
  });

  test("keeps nothing but host, method, verdict and sizes under zero-retention", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", privacy: "zero-retention" });
    const entry = audit.begin(SUBJECT);
    await entry.decide(DENY);
    entry.complete(DONE);
    await audit.close();
    const all = await records(directory);
    const keys = (type: string) =>
      all.filter((record) => record.type === type).map((record) => Object.keys(record).join(" "));
    expect(keys("decision")).toEqual([
      "v seq at writer type id kind tunnel connection sandbox method host verdict stage reason hash",
    ]);
    expect(keys("completion")).toEqual([
      "v seq at writer type id outcome bytesUp bytesDown msTotal msOrigin hash",
    ]);
  });

  test("refuses a second writer, and lets one in after close", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process" });
    await expect(openAudit({ directory, durability: "process" })).rejects.toThrow(
      /another process is writing/,
    );
    await audit.close();
    await (await openAudit({ directory, durability: "process" })).close();
  });

  test("keeps the private key and the segments from others", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "disk" });
    await exchange(audit);
    await audit.close();
    const mode = async (path: string) => (await stat(path)).mode & 0o777;
    expect(await mode(join(directory, "audit.key"))).toBe(0o600);
    expect(await mode((await segments(directory))[0] ?? "")).toBe(0o640);
  });

  test("groups the records of one turn into one batch", async () => {
    const batches: number[] = [];
    const directory = await temporaryDirectory();
    const audit = await openAudit({
      directory,
      durability: "process",
      on: { batch: (n) => batches.push(n) },
    });
    await Promise.all(Array.from({ length: 50 }, () => audit.begin(SUBJECT).decide(ALLOW)));
    expect(batches).toEqual([50]);
    await audit.close();
  });

  test("rotates by size and by day; the numbers go on and each segment is tied to the one before", async () => {
    let at = Date.UTC(2026, 10, 22, 23, 59, 59);
    const directory = await temporaryDirectory();
    const rotate = { octets: 4_000, daily: true };
    const audit = await openAudit({ directory, durability: "process", rotate, now: () => at });
    for (let count = 0; count < 8; count++) await exchange(audit);
    const bySize = (await segments(directory)).length;
    expect(bySize).toBeGreaterThan(1);
    at += 1_000;
    await exchange(audit);
    await audit.close();
    const names = (await segments(directory)).map((path) => path.slice(directory.length + 1));
    expect(names).toHaveLength(bySize + 1);
    expect(names[0]).toBe("audit-20261122T235959Z-000001.jsonl");
    expect(names.at(-1)).toBe(`audit-20261123T000000Z-00000${bySize + 1}.jsonl`);
    const all = await records(directory);
    expect(all.map((record) => record.seq)).toEqual(all.map((_, index) => index + 1));
    all.forEach((record, index) => {
      if (record.type === "segment" && index > 0) expect(record.previous).toBe(all[index - 1]?.hash);
    });
  });

  test("signs what was written when its time has come, without further traffic", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", limits: { checkpointMs: 5 } });
    const id = await exchange(audit);
    for await (const record of tailAudit({ directory, from: "start", follow: true, pollMs: 2 })) {
      if (record.type === "checkpoint" && record.of > 2) break;
    }
    const types = (await records(directory)).map((record) => record.type);
    expect(types).toEqual(["segment", "checkpoint", "decision", "completion", "checkpoint"]);
    expect((await records(directory))[2]).toMatchObject({ id });
    await audit.close();
  });

  test("refuses decisions after close, and drops completions", async () => {
    let lost = 0;
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", on: { lost: (n) => (lost += n) } });
    const entry = audit.begin(SUBJECT);
    await entry.decide(ALLOW);
    await audit.close();
    entry.complete(DONE);
    await expect(audit.begin(SUBJECT).decide(ALLOW)).rejects.toMatchObject({ reason: "audit-unavailable" });
    expect([audit.healthy, lost]).toEqual([false, 1]);
  });
});
