// Lists, as columns or as JSON. What stands in them may come from sandboxes and runtimes: whatever a terminal would act on is escaped.

import { visible } from "./audit-line.ts";
import { type Context, note, paint, print, printJson } from "./context.ts";
import type { JsonOption } from "./options.ts";

export type Column<Item> = readonly [heading: string, of: (item: Item) => string];

export type List<Item> = {
  readonly items: readonly Item[];
  readonly columns: readonly Column<Item>[];
  /** What is said, beside the output, where there are none. */
  readonly nothing: string;
};

/** One JSON array where that was asked for. */
export function printList<Item>(
  context: Context,
  { json }: JsonOption,
  { items, columns, nothing }: List<Item>,
): void {
  if (json === true) return printJson(context, items);
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
