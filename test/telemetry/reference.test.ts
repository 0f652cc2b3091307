import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { renderMetricsTable } from "../../src/telemetry/reference.ts";
import { METRICS } from "../../src/telemetry/table.ts";

const document = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
const PROMTOOL = "/usr/bin/promtool";

test("docs/metrics.md holds the table as the code has it", () => {
  expect(document).toContain(
    `\n<!-- generated:metrics -->\n\n${renderMetricsTable()}\n\n<!-- /generated -->\n`,
  );
});

test("the table has one row a metric, of four cells", () => {
  const rows = renderMetricsTable().split("\n");
  expect(rows).toHaveLength(2 + Object.keys(METRICS).length);
  for (const row of rows) expect(row.split(" | ")).toHaveLength(4);
});

test("the examples name only metrics that exist", () => {
  const names = Object.values(METRICS).map(({ name }) => name as string);
  for (const [name] of document.matchAll(/sallyport_[a-z_]+/g)) expect(names).toContain(name);
});

test.skipIf(!existsSync(PROMTOOL))("promtool reads the example alerts", () => {
  const rules = /```yaml\n(groups:[\s\S]*?)```/.exec(document)?.[1] ?? "";
  const directory = mkdtempSync(join(tmpdir(), "sallyport-rules-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "rules.yml");
  writeFileSync(file, rules);
  const checked = spawnSync(PROMTOOL, ["check", "rules", file], { encoding: "utf8" });
  expect(checked.stdout + checked.stderr).toContain("4 rules found");
  expect(checked.status).toBe(0);
});
