// Lists as columns. What stands in them may come from sandboxes and runtimes: whatever a terminal would act on is escaped.

import { visible } from "./audit-line.ts";
import { type Context, note, paint, print } from "./context.ts";

export type Column<Item> = readonly [heading: string, of: (item: Item) => string];

/** `nothing`: what is said, beside the output, where there are none. */
export function printColumns<Item>(
  context: Context,
  items: readonly Item[],
  columns: readonly Column<Item>[],
  nothing: string,
): void {
  if (items.length === 0) return note(context, nothing);
  const rows = items.map((item) => columns.map(([, of]) => visible(of(item))));
  const widths = columns.map(([heading], at) =>
    Math.max(heading.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells.map((cell, at) => (at === cells.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join("  ");
  print(context, paint(context, "dim", line(columns.map(([heading]) => heading))));
  for (const row of rows) print(context, line(row));
}

/** `2026-11-26 10:00Z`; `-` where there is none. */
export function minute(moment: string | null): string {
  return moment === null ? "-" : `${moment.slice(0, 16).replace("T", " ")}Z`;
}
