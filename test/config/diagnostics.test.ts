// Golden cases: a file's text, a line of `=`, and every diagnostic that it gives; `ok` comes first where it loads.
// Adding a case is adding a file.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { loadConfig } from "../../src/config/load.ts";

const CASES = join(import.meta.dirname, "cases");
const SHIPPED = join(import.meta.dirname, "shipped");
const DIVIDER = "==========\n";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-config-"));
});
afterAll(() => rm(directory, { recursive: true }));

test.each(await readdir(CASES))("%s", async (name) => {
  const golden = await readFile(join(CASES, name), "utf8");
  const [text = "", expected] = golden.split(DIVIDER);
  await writeFile(join(directory, "sallyport.yaml"), text);
  const loaded = await loadConfig({
    cwd: directory,
    env: { TOKEN: "correct-horse-battery", SHORT: "hunter2" },
    now: () => Date.UTC(2026, 0, 1),
    shippedPresets: SHIPPED,
  });
  const lines = loaded.ok
    ? ["ok", ...loaded.warnings.map(formatDiagnostic)]
    : loaded.diagnostics.map(formatDiagnostic);
  expect(lines.join("\n")).toBe(expected?.trimEnd());
  expect(JSON.stringify(loaded)).not.toMatch(/correct-horse|hunter2/);
});
