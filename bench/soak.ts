// A bounded soak: 1,000,000 requests to 100,000 hosts, ten on each connection, with what the process holds printed as it goes.
// Nothing may grow once it is warm. `node bench/soak.ts [--requests N] [--hosts N] [--every SECONDS] [--json]`.

import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DEFAULT_LIMITS } from "../src/net/limits.ts";
import { median } from "./peers/figures.ts";
import { buildSallyport, startSallyport } from "./peers/kinds/sallyport.ts";
import { openLab } from "./peers/lab.ts";
import { type Found, readyLoad } from "./peers/load.ts";
import { count } from "./peers/options.ts";
import { ordersFor } from "./peers/orders.ts";
import { freePort, memoryOf } from "./peers/processes.ts";
import { table, verdict } from "./peers/report.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000000" },
    hosts: { type: "string", default: "100000" },
    every: { type: "string", default: "30" },
    json: { type: "boolean", default: false },
  },
});
const requests = count(values.requests) ?? 0;
const hosts = count(values.hosts) ?? 0;
const everyMs = (count(values.every) ?? 30) * 1000;

/** What the process holds at a moment. */
type Sample = {
  readonly seconds: number;
  readonly requests: number;
  readonly rss: number;
  readonly descriptors: number;
  readonly series: number;
  readonly leaves: number;
  readonly origins: number;
};
/** A cache may fill up to its size. */
const BOUNDS: Readonly<Record<string, number>> = { leaves: DEFAULT_LIMITS.leaves };
const KEYS = ["seconds", "requests", "rss", "descriptors", "series", "leaves", "origins"] as const;

const lab = await openLab({ hosts });
try {
  buildSallyport();
  const admin = await freePort();
  const running = await startSallyport(lab, {
    admin,
    upstream: `  resolvers: ["${lab.nameServer}"]`,
  });
  const load = await readyLoad(
    lab,
    ordersFor(lab, running, {
      connections: 16,
      lifetime: 10,
      host: "c%d.origin.test",
      hosts,
      requests,
      seconds: 86_400,
      warmup: 5,
    }),
  );
  const began = performance.now();
  const samples: Sample[] = [];
  const sample = async (): Promise<void> => {
    const seconds = (performance.now() - began) / 1000;
    const { rss, descriptors } = await memoryOf(running.pid);
    const metrics = await fetch(`http://127.0.0.1:${admin}/metrics`).then((answer) => answer.text());
    samples.push({ seconds, rss, descriptors, ...readMetrics(metrics) });
    if (!values.json) console.log(KEYS.map((key) => `${key} ${samples.at(-1)?.[key].toFixed(0)}`).join(", "));
  };
  await sample();
  const result: { found?: Found } = {};
  const done = load.run().then((found) => (result.found = found));
  while (result.found === undefined) {
    await Promise.race([done, wait(everyMs)]);
    await sample();
  }
  report(samples, result.found);
} finally {
  await lab.close();
}
process.exit();

function readMetrics(text: string): Omit<Sample, "seconds" | "rss" | "descriptors"> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const sum = (pattern: RegExp): number =>
    lines.filter((line) => pattern.test(line)).reduce((all, line) => all + Number(line.split(" ").at(-1)), 0);
  return {
    requests: sum(/^sallyport_decisions_total\{.*stage="request"/),
    series: lines.length,
    leaves: sum(/^sallyport_leaf_cache_entries/),
    origins: sum(/^sallyport_upstream_connections_open/),
  };
}

/** Caches fill in the first third. From the second to the last nothing may grow, but for what the moment is worth. */
function report(samples: readonly Sample[], found: Found): void {
  const third = Math.floor(samples.length / 3);
  const steady = KEYS.filter((key) => key !== "seconds" && key !== "requests").map((key) => {
    const values = samples.map((one) => one[key]);
    const from = median(values.slice(third, 2 * third));
    const to = median(values.slice(2 * third));
    return {
      key,
      from,
      to,
      most: Math.max(...values),
      met: to <= Math.max(from * 1.1 + 5, BOUNDS[key] ?? 0),
    };
  });
  if (values.json) {
    console.log(JSON.stringify({ samples, found, steady }));
    return;
  }
  const rows = steady.map(({ key, from, to, most, met }) => [
    key,
    from.toFixed(0),
    to.toFixed(0),
    most.toFixed(0),
    verdict(met),
  ]);
  console.log(`\n${found.requests} requests to ${hosts} hosts in ${found.seconds.toFixed(0)} s`);
  console.log(table([["medians", "second third", "last third", "most", "no growth"], ...rows]));
}
