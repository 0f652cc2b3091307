import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, test } from "vitest";

import { openAudit } from "../../src/audit/log.ts";
import type { Subject } from "../../src/audit/types.ts";
import { ALLOW, DENY, DONE, SUBJECT } from "../audit/helpers.ts";
import { directory, sallyport, sallyportHere, startSallyport } from "./support.ts";

async function write(
  path: string,
  subjects: readonly (Partial<Subject> & { deny?: boolean })[],
): Promise<void> {
  const log = await openAudit({ directory: path, durability: "process" });
  for (const { deny, ...subject } of subjects) {
    const entry = log.begin({ ...SUBJECT, query: "", ...subject });
    await entry.decide(deny === true ? DENY : ALLOW);
    entry.complete(DONE);
  }
  await log.close();
}

const cwd = directory();
const log = join(cwd, "data/audit");
beforeAll(() =>
  write(log, [{}, { deny: true, host: "attacker.example", method: "POST" }, { sandbox: "other" }]),
);

describe("audit tail", () => {
  test("the last records, one line each", async () => {
    const { status, stdout } = await sallyportHere(["audit", "tail"], { cwd });
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /Z {2}allow {3}ci-runner {2}GET https:\/\/registry\.example\/left-pad {2}preset:npm {2}\S+\n/,
    );
    expect(stdout).toMatch(
      /Z {2}deny {4}ci-runner {2}POST https:\/\/attacker\.example\/left-pad {2}method-not-allowed {2}default \(sallyport\.yaml:3:1\) {2}\S+\n/,
    );
    const last = await sallyportHere(["audit", "tail", log, "-n", "2"], { cwd });
    expect(last.stdout.split("\n").slice(0, -1)).toEqual(stdout.split("\n").slice(-3, -1));
  });

  test.each([
    [["--verdict", "deny"], ["attacker.example"]],
    [
      ["--host", "Registry.example"],
      ["registry.example", "registry.example"],
    ],
    [["--sandbox", "other"], ["registry.example"]],
    [["--sandbox", "other", "--verdict", "deny"], []],
  ])("%j", async (filter, hosts) => {
    const { stdout } = await sallyportHere(["audit", "tail", "--all", "--json", ...filter], { cwd });
    const records = stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { type: string; host?: string });
    expect(records.flatMap(({ type, host }) => (type === "decision" ? [host] : []))).toEqual(hosts);
    expect(records.filter(({ type }) => type === "completion")).toHaveLength(hosts.length);
  });

  test("--json is the log, octet by octet", async () => {
    const { stdout } = await sallyportHere(["audit", "tail", "--all", "--json"], { cwd });
    expect(stdout).toBe(readFileSync(segment(log), "utf8"));
  });

  test("--follow shows what is written from then on", async () => {
    const followed = join(directory(), "log");
    await write(followed, [{ host: "before.example" }]);
    const child = startSallyport(
      ["audit", "tail", followed, "--follow", "-n", "1", "--verdict", "allow", "--json"],
      { cwd },
    );
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    // The last record that passes the filter: the first exchange's completion. Now it follows.
    expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ type: "completion" });
    await write(followed, [{ host: "after.example" }]);
    expect(JSON.parse((await lines.next()).value as string)).toMatchObject({
      type: "decision",
      host: "after.example",
    });
    child.kill("SIGINT");
  });

  test("a log that is not there", async () => {
    const { status, stderr } = await sallyportHere(["audit", "tail", "nowhere"], { cwd });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `sallyport: there is no audit log in ${join(cwd, "nowhere")}: the proxy makes it when it starts.\n`,
    });
  });

  test.each([
    ["-n", "many"],
    ["--verdict", "maybe"],
  ])("%s %s is wrong usage", async (...args) => {
    expect((await sallyportHere(["audit", "tail", ...args], { cwd })).status).toBe(2);
  });
});

describe("audit verify", () => {
  test("a whole log, by default and with a key kept elsewhere", () => {
    const key = join(cwd, "kept.pub");
    writeFileSync(key, readFileSync(join(log, "audit.pub")));
    const ended = sallyport(["audit", "verify", "data/audit", "--key", "kept.pub"], { cwd });
    expect(ended).toMatchObject({ status: 0, stderr: "" });
    expect(ended.stdout).toMatch(
      /^whole: \d+ records \(1 to \d+\) in 1 segment: 3 decisions, 3 completions; signed up to \d+\n$/,
    );
    const own = sallyport(["audit", "verify"], { cwd });
    expect(own.stdout).toBe(ended.stdout);
    expect(own.stderr).toContain("--key FILE");
  });

  test.each<[name: string, spoil: (lines: string[]) => string[], kind: string]>([
    [
      "flipped",
      (lines) => lines.with(4, lines[4]!.replace("attacker.example", "innocent.example")),
      "changed",
    ],
    ["removed", (lines) => lines.toSpliced(4, 1), "dropped"],
    ["swapped", (lines) => lines.with(3, lines[4]!).with(4, lines[3]!), "reordered"],
  ])("a record that was %s is named", async (_how, spoil, kind) => {
    const path = join(directory(), "log");
    await write(path, [{}, { deny: true, host: "attacker.example" }, {}]);
    const file = segment(path);
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    writeFileSync(
      file,
      spoil(lines)
        .map((line) => `${line}\n`)
        .join(""),
    );
    const { status, stdout } = await sallyportHere(["audit", "verify", path], { cwd });
    expect(status).toBe(1);
    expect(stdout).toMatch(/audit-\S+\.jsonl:\d+ record \d+: \S+: /);
    const report = JSON.parse(
      (await sallyportHere(["audit", "verify", path, "--json"], { cwd })).stdout,
    ) as object;
    expect(report).toMatchObject({ ok: false, problem: { kind } });
  });

  test.each([
    [["nowhere", "--key", "data/audit/audit.pub"], "is not named like a segment"],
    [["nowhere"], "a public key is needed"],
    [["data/audit", "--key", "nokey"], "ENOENT"],
    [["data/audit", "--key", "data/audit/audit.head"], "holds no public key in PEM"],
  ])("%j says what is wrong, without a stack", async (args, message) => {
    const { status, stderr } = await sallyportHere(["audit", "verify", ...args], { cwd });
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/defect|^ +at /m);
  });
});

function segment(path: string): string {
  const name = readdirSync(path).find((file) => file.endsWith(".jsonl"));
  return join(path, name ?? "");
}
