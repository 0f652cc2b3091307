// Prints what was measured: a table for each scenario, and its targets beside what was reached.

import { cpus, loadavg } from "node:os";
import { ratioOf, type Row } from "./figures.ts";
import { CORES } from "./processes.ts";
import type { Outcome, Pace } from "./rounds.ts";
import type { Scenario } from "./scenarios.ts";

/** What the figures were taken on, and how. */
export function machine({ rounds, seconds }: Pace): string {
  const cores = `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, Node ${process.version}`;
  return [
    `${cores}; ${CORES}; load average before ${loadavg()[0]?.toFixed(1)}`,
    `medians of ${rounds} alternating rounds of ${seconds} s; CPU of all processes of a proxy`,
  ].join("\n");
}

export function printOutcome(scenario: Scenario, { rows, left }: Outcome): void {
  const unit = scenario.per === "GiB" ? "s per GiB" : "us a request";
  console.log(`\n## ${scenario.name}: ${scenario.title}\n`);
  const ours = rows.find(({ peer }) => peer === "sallyport");
  console.log(
    table([
      [
        "",
        `CPU, ${unit}`,
        "(least-most)",
        "ours / theirs",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
        "PSS MiB",
      ],
      ...rows.map((row) => cells(scenario, row, ours)),
    ]),
  );
  for (const { peer, why } of left) console.log(`left out: ${peer}: ${why}`);
  printVerdicts(verdicts(scenario, rows));
}

function cells(scenario: Scenario, row: Row, ours: Row | undefined): string[] {
  const digits = scenario.per === "GiB" ? 2 : row.cpu < 100 ? 1 : 0;
  const ratio = ours === undefined || ours === row ? "" : ratioOf(ours, row).toFixed(3);
  return [
    row.peer,
    row.cpu.toFixed(digits),
    `(${Math.min(...row.rounds).toFixed(digits)}-${Math.max(...row.rounds).toFixed(digits)})`,
    ratio,
    row.perSecond.toFixed(row.perSecond < 100 ? 1 : 0),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.memory.rss.toFixed(0),
    row.memory.pss.toFixed(0),
  ];
}

/** What was asked and what was reached; `met` is absent where it could not be measured. */
export type Verdict = { readonly asked: string; readonly reached: string; readonly met?: boolean };

export function verdicts(scenario: Scenario, rows: readonly Row[]): readonly Verdict[] {
  const ours = rows.find(({ peer }) => peer === "sallyport");
  const list = scenario.targets.map(({ peer, ratio, strict }): Verdict => {
    const theirs = rows.find((row) => row.peer === peer);
    const asked = `${strict === true ? "<" : "<="} ${Number(ratio.toFixed(3))} x ${peer}`;
    if (ours === undefined || theirs === undefined) return { asked, reached: "not measured" };
    const reached = ratioOf(ours, theirs);
    return { asked, reached: reached.toFixed(3), met: strict === true ? reached < ratio : reached <= ratio };
  });
  const { limit } = scenario;
  if (limit !== undefined && ours !== undefined)
    list.push({ asked: `<= ${limit} us`, reached: `${ours.cpu.toFixed(0)} us`, met: ours.cpu <= limit });
  return [...list, ...(scenario.verdicts?.(rows) ?? [])];
}

export function printVerdicts(list: readonly Verdict[]): void {
  for (const { asked, reached, met } of list)
    console.log(`target ${asked}: ${reached}${met === undefined ? "" : ` ${verdict(met)}`}`);
}

/** All targets in one table, at the end. */
export function printSummary(
  all: readonly { readonly name: string; readonly targets: readonly Verdict[] }[],
): void {
  const rows = all.flatMap(({ name, targets }) =>
    (targets.length > 0 ? targets : [{ asked: "", reached: "not measured" }]).map(
      ({ asked, reached, met }: Verdict) => [
        name,
        asked,
        reached,
        met === undefined ? "" : met ? "yes" : "no",
      ],
    ),
  );
  console.log(`\n## summary\n\n${table([["scenario", "asked", "reached", "met"], ...rows])}`);
}

export function verdict(met: boolean): string {
  return met ? "met" : "NOT MET";
}

/** Columns wide enough for what is in them; the first to the left, the others to the right. A Markdown table. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  const [head = [], ...rest] = rows;
  return [line(head), rule, ...rest.map(line)].join("\n");
}
