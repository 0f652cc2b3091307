import { cp, readFile, rename, rm, unlink, writeFile, appendFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import { verifyAudit } from "../../src/audit/verify.ts";
import { temporaryDirectory } from "./directory.ts";
import { ALLOW, exchange, lines, segments, SUBJECT } from "./helpers.ts";

let original = "";
let publicKeyPem = "";

beforeAll(async () => {
  original = await temporaryDirectory();
  const audit = await openAudit({ directory: original, durability: "process", rotate: { octets: 2_500 } });
  for (let count = 0; count < 6; count++) await exchange(audit);
  await audit.begin(SUBJECT).decide(ALLOW);
  await audit.close();
  publicKeyPem = audit.publicKey;
});

async function copy(): Promise<string> {
  const directory = await temporaryDirectory();
  await cp(original, directory, { recursive: true });
  return directory;
}

async function judge(change: (directory: string, files: string[]) => Promise<void>) {
  const directory = await copy();
  await change(directory, await segments(directory));
  const report = await verifyAudit({ from: { directory }, publicKeyPem });
  await rm(directory, { recursive: true });
  return report;
}

/** Edits one segment's lines in place. */
const edit = (index: number, change: (all: string[]) => void) =>
  judge(async (_, files) => {
    const file = files[index] as string;
    const all = (await readFile(file, "utf8")).trimEnd().split("\n");
    change(all);
    await writeFile(file, all.map((line) => `${line}\n`).join(""));
  });

const seqOf = (line: string | undefined) => (JSON.parse(line ?? "{}") as { seq: number }).seq;

describe("verifyAudit", () => {
  test("finds an untouched log whole, and counts it", async () => {
    const total = (await lines(original)).length;
    const report = await judge(async () => {});
    expect(report).toMatchObject({
      ok: true,
      problem: undefined,
      warnings: [],
      segments: (await segments(original)).length,
      records: total,
      decisions: 7,
      completions: 6,
      openDecisions: 1,
      first: 1,
      last: total,
      signed: total,
    });
  });

  test("names the record whose octet was flipped, for every octet of a segment", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process", rotate: { octets: 1_000 } });
    await exchange(audit);
    await audit.close();
    const changed = (await segments(directory))[0] as string;
    const octets = await readFile(changed);
    let line = 0;
    const first = seqOf(octets.toString("latin1").split("\n")[0]);
    for (let index = 0; index < octets.length; index++) {
      const flipped = Buffer.from(octets);
      flipped[index] = (flipped[index] ?? 0) ^ 1;
      await writeFile(changed, flipped);
      const { problem } = await verifyAudit({ from: { directory } });
      expect({ index, kind: problem?.kind, seq: problem?.seq, line: problem?.line }).toEqual({
        index,
        kind: "changed",
        seq: first + line,
        line: line + 1,
      });
      if (octets[index] === 10) line++;
    }
  });

  test("names each record that was dropped, swapped or repeated", async () => {
    const files = await segments(original);
    for (let index = 0; index < files.length; index++) {
      const all = (await readFile(files[index] as string, "utf8")).trimEnd().split("\n");
      for (let at = 0; at < all.length; at++) {
        const seq = seqOf(all[at]);
        const isEnd = index === files.length - 1 && at === all.length - 1;
        const dropped = await edit(index, (lines) => lines.splice(at, 1));
        expect(dropped.problem).toMatchObject({ kind: isEnd ? "tail-cut" : "dropped", seq });
        const repeated = await edit(index, (lines) => lines.splice(at, 0, lines[at] as string));
        expect(repeated.problem).toMatchObject({ kind: "repeated", line: at + 2 });
        if (at === all.length - 1) continue;
        const swapped = await edit(index, (lines) =>
          lines.splice(at, 2, lines[at + 1] as string, lines[at] as string),
        );
        expect(swapped.problem).toMatchObject({ kind: "reordered", seq, line: at + 2 });
      }
    }
  });

  test.each<[string, string, (directory: string, files: string[]) => Promise<void>]>([
    ["segment-missing", "the first segment removed", (_, files) => unlink(files[0] as string)],
    ["segment-missing", "a segment removed", (_, files) => unlink(files[1] as string)],
    ["tail-cut", "the last segment removed", (_, files) => unlink(files.at(-1) as string)],
    [
      "tail-cut",
      "all segments removed",
      async (_, files) => void (await Promise.all(files.map((file) => unlink(file)))),
    ],
    ["head-missing", "the head removed", (directory) => unlink(join(directory, "audit.head"))],
    ["head-invalid", "the head changed", (directory) => writeFile(join(directory, "audit.head"), "{}")],
    [
      "reordered",
      "two segments that changed places",
      async (_, files) => {
        await rename(files[0] as string, `${files[0]}.aside`);
        await rename(files[1] as string, files[0] as string);
        await rename(`${files[0]}.aside`, files[1] as string);
      },
    ],
    [
      "head-invalid",
      "the head's end moved back by hand",
      async (directory) => {
        const path = join(directory, "audit.head");
        await writeFile(path, (await readFile(path, "utf8")).replace(/"seq":\d+/, '"seq":1'));
      },
    ],
  ])("finds %s: %s", async (kind, _, change) => {
    expect((await judge(change)).problem?.kind).toBe(kind);
  });

  test("finds a chain forged without the private key", async () => {
    const other = await temporaryDirectory();
    const forged = await openAudit({ directory: other, durability: "process" });
    await exchange(forged);
    await forged.close();
    const report = await verifyAudit({ from: { directory: other }, publicKeyPem });
    expect(report.problem?.kind).toBe("key-mismatch");
  });

  test("accepts a log whose old segments were moved away, if told so", async () => {
    const directory = await copy();
    const [first, ...rest] = await segments(directory);
    await unlink(first as string);
    expect(await verifyAudit({ from: { directory }, publicKeyPem, pruned: true })).toMatchObject({
      ok: true,
    });
    expect(await verifyAudit({ from: { files: rest }, publicKeyPem })).toMatchObject({
      ok: true,
      warnings: ["single segments: a tail that was cut off cannot be found"],
    });
  });

  test("warns of a torn tail while it is not sealed", async () => {
    const directory = await temporaryDirectory();
    const audit = await openAudit({ directory, durability: "process" });
    await exchange(audit);
    await audit.begin(SUBJECT).decide(ALLOW); // its batch comes after the completion's
    const [file] = await segments(directory);
    await appendFile(file as string, '{"v":1,"seq":');
    const report = await verifyAudit({ from: { directory } });
    expect(report).toMatchObject({ ok: true, openDecisions: 1 });
    expect(report.warnings).toEqual([expect.stringMatching(/:6 is torn and not sealed yet$/)]);
    await audit.close();
  });
});
