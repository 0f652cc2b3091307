// The table of docs/metrics.md, rendered from the metrics' definitions.

import { type Definition, METRICS } from "./table.ts";

/** Stand around the table in docs/metrics.md. */
export const METRICS_BEGIN = "<!-- metrics: generated -->";
export const METRICS_END = "<!-- /metrics -->";

export function renderMetricsTable(): string {
  const rows = Object.values(METRICS).map((definition: Definition) => [
    `\`${definition.name}\``,
    definition.type,
    definition.help,
    labels(definition),
  ]);
  const all = [["Name", "Type", "What it counts", "Labels"], ...rows];
  // Padded as the formatter pads, so that formatting the document changes nothing.
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((cells) => cells[column]?.length ?? 0)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const [head = "", ...body] = all.map(line);
  return [head, line(widths.map((width) => "-".repeat(width))), ...body].join("\n");
}

/** The document with its table brought up to date. */
export function withMetricsTable(document: string): string {
  const [before, rest] = document.split(METRICS_BEGIN);
  const after = rest?.split(METRICS_END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`no ${METRICS_BEGIN} … ${METRICS_END} in the document`);
  return `${before}${METRICS_BEGIN}\n\n${renderMetricsTable()}\n\n${METRICS_END}${after}`;
}

function labels(definition: Definition): string {
  const all = Object.entries(definition.labels).map(([name, { values, says }]) => {
    const list = says ?? values?.map((value) => `\`${value}\``).join(", ");
    return `\`${name}\`: ${list ?? ""}`;
  });
  return all.length === 0 ? "none" : all.join("<br>");
}
