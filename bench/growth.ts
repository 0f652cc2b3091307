// How a request's CPU grows with patterns, with sandboxes and with open connections: it should not. Each size is a Sallyport of
// its own, and they are asked in alternating rounds. `node bench/growth.ts [--only patterns,sandboxes,connections] [--rounds N]
// [--seconds N] [--quick] [--json]`.

import { buildSallyport, type Setting, startSallyport } from "./peers/kinds/sallyport.ts";
import { readOptions } from "./peers/options.ts";
import { ratioOf, type Row } from "./peers/figures.ts";
import { type Lab, openLab } from "./peers/lab.ts";
import { readyLoad } from "./peers/load.ts";
import { ordersFor } from "./peers/orders.ts";
import type { Contender, Running } from "./peers/peer.ts";
import { descriptorLimit } from "./peers/processes.ts";
import { machine, table, verdict } from "./peers/report.ts";
import { runScenario } from "./peers/rounds.ts";

type Growth = {
  readonly name: string;
  readonly sizes: readonly number[];
  readonly contender: (size: number) => Contender;
};

const GROWTHS: readonly Growth[] = [
  {
    name: "patterns",
    sizes: [10, 1000, 100_000],
    contender: (size) => ({
      name: `${size} patterns`,
      start: (lab) => startSallyport(lab, withPatterns(size)),
    }),
  },
  {
    name: "sandboxes",
    sizes: [1, 100, 10_000],
    contender: (size) => ({
      name: `${size} sandboxes`,
      start: (lab) => startSallyport(lab, { more: sandboxes(size) }),
      orders: () => ({ users: size }),
    }),
  },
  {
    name: "connections",
    sizes: [10, 1000, 10_000],
    contender: (size) => ({
      name: `${size} idle connections`,
      start: (lab) => startWithIdle(lab, Math.min(size, descriptorLimit() - 2500)),
    }),
  },
];

const { names, pace, json } = readOptions(GROWTHS);
const lab = await openLab();
const found: object[] = [];
try {
  buildSallyport();
  if (!json) console.log(machine(pace));
  for (const growth of GROWTHS.filter(({ name }) => names.includes(name))) found.push(await grow(growth));
  if (json) console.log(JSON.stringify(found));
} finally {
  await lab.close();
}
process.exit();

async function grow({ name, sizes, contender }: Growth): Promise<object> {
  const { rows, left } = await runScenario(
    lab,
    { per: "request", orders: () => ({ warmup: 1 }) },
    sizes.map(contender),
    pace,
  );
  const [least] = rows;
  const ratios = rows.map((row) => (least === undefined ? Number.NaN : ratioOf(row, least)));
  const flat = left.length === 0 && ratios.every((ratio) => ratio <= 1.1);
  if (!json) {
    const line = (row: Row, index: number): string[] => [
      row.peer,
      row.cpu.toFixed(1),
      (ratios[index] ?? Number.NaN).toFixed(3),
      row.p99.toFixed(1),
      row.memory.rss.toFixed(0),
    ];
    const head = [name, "CPU, us a request", "x the smallest", "p99 ms", "RSS MiB"];
    console.log(`\n${table([head, ...rows.map(line)])}`);
    for (const { peer, why } of left) console.log(`left out: ${peer}: ${why}`);
    console.log(`target: flat within 10 %: ${verdict(flat)}`);
  }
  return { name, rows, left, ratios, flat };
}

/** A third each of exact hosts, zones and wildcards in a label. */
function withPatterns(size: number): Setting {
  const forms = [
    (index: number) => `h${index}.example.com`,
    (index: number) => `"**.z${index}.example.net"`,
    (index: number) => `"api-*.w${index}.example.org"`,
  ];
  const hosts = Array.from({ length: size }, (_, index) => `  - ${forms[index % 3]?.(index)}\n`);
  const text = `name: many\ndescription: as many patterns as the benchmark wants\nhosts:\n${hosts.join("")}`;
  return { preset: "many", files: { "presets/many.yaml": text } };
}

function sandboxes(size: number): string {
  const lines = Array.from(
    { length: size },
    (_, index) => `  - { id: s${index}, secret: secret-of-the-sandbox-s${index}, policy: default }\n`,
  );
  return `sandboxes:\n${lines.join("")}`;
}

/** They stay until the lab closes. */
async function startWithIdle(lab: Lab, connections: number): Promise<Running> {
  const running = await startSallyport(lab, {});
  await readyLoad(lab, ordersFor(lab, running, { connections }));
  return running;
}
