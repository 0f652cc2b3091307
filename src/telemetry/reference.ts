// The generated section of docs/metrics.md, rendered from the metrics' definitions.

import { type Definition, METRICS } from "./table.ts";

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

function labels(definition: Definition): string {
  const all = Object.entries(definition.labels).map(([name, { values, says }]) => {
    const list = says ?? values?.map((value) => `\`${value}\``).join(", ");
    return `\`${name}\`: ${list ?? ""}`;
  });
  return all.length === 0 ? "none" : all.join("<br>");
}
