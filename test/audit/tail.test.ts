import { describe, expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import type { AuditRecord } from "../../src/audit/schema.ts";
import { tailAudit, type TailOptions } from "../../src/audit/tail.ts";
import { temporaryDirectory } from "./directory.ts";
import { DENY, exchange, SUBJECT } from "./helpers.ts";

async function collect(options: Omit<TailOptions, "follow">): Promise<AuditRecord[]> {
  const found: AuditRecord[] = [];
  for await (const record of tailAudit({ ...options, follow: false })) found.push(record);
  return found;
}

describe("tailAudit", () => {
  test("gives the records across rotation, all or the last ones, by filter", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", rotate: { octets: 1_500 } });
    for (let count = 0; count < 5; count++)
      await exchange(audit, { host: `h${count}.example`, sandbox: `s${count % 2}` });
    await audit.begin({ ...SUBJECT, host: "h9.example" }).decide(DENY);
    await audit.close();
    const all = await collect({ directory, from: "start" });
    expect(all.map((record) => record.seq)).toEqual(all.map((_, index) => index + 1));
    expect((await collect({ directory, from: 2 })).map((record) => record.seq)).toEqual([
      all.length - 1,
      all.length,
    ]);
    expect(await collect({ directory, from: "end" })).toEqual([]);
    const kinds = async (filter: TailOptions["filter"] & object) =>
      (await collect({ directory, from: "start", filter })).map((record) => record.type);
    expect(await kinds({ host: "H3.example" })).toEqual(["decision", "completion"]);
    expect(await kinds({ sandbox: "s1" })).toEqual(["decision", "completion", "decision", "completion"]);
    expect(await kinds({ verdict: "deny" })).toEqual(["decision"]);
  });

  test("follows new records into the next segment until it is told to stop", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", rotate: { octets: 1 } });
    const stop = new AbortController();
    const tail = tailAudit({
      directory,
      from: "start",
      follow: true,
      filter: { verdict: "allow" },
      signal: stop.signal,
      pollMs: 5,
    });
    const first = tail.next();
    const id = await exchange(audit);
    expect((await first).value).toMatchObject({ type: "decision", id });
    expect((await tail.next()).value).toMatchObject({ type: "completion", id });
    const ended = tail.next();
    stop.abort();
    expect(await ended).toEqual({ value: undefined, done: true });
    await audit.close();
  });
});
