import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

import { loadConfig } from "../../src/config/load.ts";

const text = readFileSync(new URL("../../docs/policy.md", import.meta.url), "utf8");
const examples = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml]) => yaml!);

test.each(examples)("an example of docs/policy.md loads without a word: %#", async (yaml) => {
  const cwd = mkdtempSync(join(tmpdir(), "sallyport-docs-"));
  try {
    writeFileSync(join(cwd, "sallyport.yaml"), `${yaml}anonymous: default\n`);
    const loaded = await loadConfig({ cwd, env: {} });
    expect(loaded).toMatchObject({ ok: true, warnings: [] });
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

test("there are examples", () => {
  expect(examples.length).toBeGreaterThan(3);
});
