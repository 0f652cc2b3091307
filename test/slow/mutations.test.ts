// docs/security.md says that each invariant's test fails without the line that the invariant rests on. Here the line is taken
// away, in a copy.

import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { MUTATIONS } from "./mutations.ts";

const ROOT = join(import.meta.dirname, "../..");
const copy = mkdtempSync(join(tmpdir(), "sallyport-mutations-"));
afterAll(() => rmSync(copy, { recursive: true, force: true }));
for (const name of ["src", "presets", "package.json", "vitest.config.ts"])
  cpSync(join(ROOT, name), join(copy, name), { recursive: true });
for (const name of ["support", "invariants.test.ts"])
  cpSync(join(ROOT, "test", name), join(copy, "test", name), { recursive: true });
symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));

test("as it is, all ten hold", async () => {
  expect(await run("")).toMatch(/Tests +10 passed/);
});

test.each(MUTATIONS)("%i fails where %s", async (invariant, _, mutations) => {
  const before = new Map<string, string>();
  for (const [file, line, instead] of mutations) {
    const path = join(copy, "src", file);
    const text = readFileSync(path, "utf8");
    expect(text, `${file} no longer has ${line}`).toContain(line);
    if (!before.has(path)) before.set(path, text);
    writeFileSync(path, text.replace(line, instead));
  }
  try {
    expect(await run(`${invariant}\\. `)).toMatch(/Tests +1 failed/);
  } finally {
    for (const [path, text] of before) writeFileSync(path, text);
  }
});

/** What vitest says of the invariants whose name matches. */
function run(name: string): Promise<string> {
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
  const args = [vitest, "run", "test/invariants.test.ts", "--testTimeout=10000", "-t", name];
  return new Promise((resolve) => {
    const env = { PATH: process.env["PATH"], NO_COLOR: "1" };
    execFile(process.execPath, args, { cwd: copy, env }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
}
