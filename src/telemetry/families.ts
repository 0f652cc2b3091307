// The bridge to prom-client: plain cells that the data path adds to, read by the registry when it is scraped. Counting through
// prom-client itself hashes the labels each time (860 ns measured, against about 50 ns for a cell).

import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Definition } from "./table.ts";

/** One series. */
export type Cell = { readonly labels: Readonly<Record<string, string>>; value: number };
/** Gives the cell of a combination of label values, in the definition's order; a new one is registered. */
export type Family = (...values: readonly string[]) => Cell;
export type Observe = (seconds: number) => void;

/** A counter or gauge; unless it is sparse, every combination of its label values stands at 0 from the start. */
export function family(registry: Registry, definition: Definition): Family {
  const labelNames = Object.keys(definition.labels);
  const cells: Cell[] = [];
  const options = {
    name: definition.name,
    help: definition.help,
    labelNames,
    registers: [registry],
    aggregator: definition.merge ?? ("sum" as const),
  };
  if (definition.type === "counter") {
    const counter: Counter = new Counter({
      ...options,
      collect: () => {
        counter.reset();
        for (const { labels, value } of cells) counter.inc(labels, value);
      },
    });
  } else {
    const gauge: Gauge = new Gauge({
      ...options,
      collect: () => {
        gauge.reset();
        for (const { labels, value } of cells) gauge.set(labels, value);
      },
    });
  }
  const known = new Map<string, Cell>();
  const cell: Family = (...values) => {
    const key = values.join(" ");
    let found = known.get(key);
    if (found === undefined) {
      found = {
        labels: Object.fromEntries(labelNames.map((name, at) => [name, values[at] ?? ""])),
        value: 0,
      };
      known.set(key, found);
      cells.push(found);
    }
    return found;
  };
  if (definition.sparse !== true) for (const values of combinations(definition)) cell(...values);
  return cell;
}

/** A histogram's observers, one for each value of its one label, or under "" where it has none. */
export function histogram(registry: Registry, definition: Definition): Map<string, Observe> {
  const histogram = new Histogram({
    name: definition.name,
    help: definition.help,
    labelNames: Object.keys(definition.labels),
    buckets: [...(definition.buckets ?? [])],
    registers: [registry],
  });
  const observers = new Map<string, Observe>();
  for (const values of combinations(definition)) {
    const child = values.length === 0 ? histogram : histogram.labels(...values);
    if (values.length > 0)
      histogram.zero(
        Object.fromEntries(Object.keys(definition.labels).map((n, at) => [n, values[at] ?? ""])),
      );
    observers.set(values.join(" "), (seconds) => child.observe(seconds));
  }
  return observers;
}

function combinations(definition: Definition): string[][] {
  let rows: string[][] = [[]];
  for (const { values } of Object.values(definition.labels)) {
    rows = rows.flatMap((row) => (values ?? []).map((value) => [...row, value]));
  }
  return rows;
}
