import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, readFile, readdir, truncate, unlink } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { temporaryDirectory } from "./directory.ts";
import { ALLOW, exchange, records, segments, SUBJECT } from "./helpers.ts";

const WRITER = fileURLToPath(new URL("kill-writer.ts", import.meta.url));
const KILLS = 20;

/** Lets a writer run into its SIGKILL, some milliseconds after its first record; gives the acknowledged ids. */
async function killedWriter(directory: string, durability: string): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER, directory, durability], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8");
  child.stdout.once("data", () => setTimeout(() => child.kill("SIGKILL"), Math.random() * 60));
  child.stdout.on("data", (text: string) => (output += text));
  await new Promise((resolve) => child.once("close", resolve));
  return output.split("\n").filter((id) => id.length === 36);
}

describe("a killed writer", () => {
  test(
    `loses no acknowledged record in ${KILLS} kills, and the chain stays whole`,
    { timeout: 60_000 },
    async () => {
      const directory = await temporaryDirectory();
      const acknowledged: string[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const ids = await killedWriter(directory, kill % 4 === 3 ? "disk" : "process");
        expect(ids.length).toBeGreaterThan(0);
        acknowledged.push(...ids);
        expect((await verifyAudit({ from: { directory } })).problem).toBeUndefined();
        const audit = await openAudit({ directory, durability: "process" });
        await exchange(audit);
        await audit.close();
        expect(await verifyAudit({ from: { directory } })).toMatchObject({ ok: true, warnings: [] });
      }
      const all = await records(directory);
      const decided = new Set(all.flatMap((record) => (record.type === "decision" ? [record.id] : [])));
      expect(acknowledged.filter((id) => !decided.has(id))).toEqual([]);
      const recoveries = all.filter((record) => record.type === "recovered");
      expect(recoveries).toHaveLength(KILLS);
      for (const record of recoveries) expect(record).toMatchObject({ cause: "open" });
    },
  );
});

test("a second process is refused while the first lives, and let in once it was killed", async () => {
  const directory = await temporaryDirectory();
  const child = spawn(process.execPath, [WRITER, directory, "process"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  await once(child.stdout, "data");
  child.stdout.resume();
  await expect(openAudit({ directory, durability: "process" })).rejects.toThrow(/another process is writing/);
  child.kill("SIGKILL");
  await closed;
  await (await openAudit({ directory, durability: "process" })).close();
});

describe("recovery at open", () => {
  test("cuts a torn last line off at every octet, keeps it aside, and says so", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process" });
    await audit.begin(SUBJECT).decide(ALLOW);
    await audit.close();
    const [file] = (await segments(directory)) as [string];
    const torn = (await readFile(file, "latin1")).split("\n").at(-2) as string;
    for (const length of [1, 2, 100, torn.length]) {
      const whole = (await readFile(file)).length;
      await appendFile(file, torn.slice(0, length));
      const next = await openAudit({ directory, durability: "process" });
      await next.close();
      const found = (await records(directory)).filter((record) => record.type === "recovered").at(-1);
      const name = `${file.slice(directory.length + 1)}.${whole}.torn`;
      expect(found).toMatchObject({ cause: "open", tornOctets: length, tornFile: name, openDecisions: 1 });
      expect(await readFile(`${directory}/${name}`, "latin1")).toBe(torn.slice(0, length));
      expect(await verifyAudit({ from: { directory } })).toMatchObject({ ok: true, warnings: [] });
    }
  });

  test("takes away a segment that has no record yet", async () => {
    const directory = await temporaryDirectory();
    const first = await openAudit({ directory, durability: "process" });
    await first.close();
    await appendFile(`${directory}/audit-20990101T000000Z-000002.jsonl`, "");
    const second = await openAudit({ directory, durability: "process" });
    await second.close();
    expect(await readdir(directory)).not.toContain("audit-20990101T000000Z-000002.jsonl");
    expect((await verifyAudit({ from: { directory } })).ok).toBe(true);
  });

  test("records that signed records are gone, and verification keeps saying so", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process" });
    await exchange(audit);
    await audit.close();
    const [file] = (await segments(directory)) as [string];
    const kept = (await readFile(file, "utf8")).split("\n").slice(0, 2).join("\n").length + 1;
    await truncate(file, kept);
    const next = await openAudit({ directory, durability: "process" });
    await next.close();
    expect((await records(directory)).find((record) => record.type === "recovered")).toMatchObject({
      missing: 3,
    });
    expect((await verifyAudit({ from: { directory } })).problem).toMatchObject({
      kind: "loss-recorded",
      seq: 3,
    });
  });

  test("does not start a log anew beside one whose key is gone", async () => {
    const directory = await temporaryDirectory();
    await (await openAudit({ directory, durability: "process" })).close();
    await unlink(`${directory}/audit.key`);
    await expect(openAudit({ directory, durability: "process" })).rejects.toThrow(/restore the key/);
  });
});
