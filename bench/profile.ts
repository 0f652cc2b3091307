// Where the time goes: one scenario of bench/peers.ts through Sallyport under --cpu-prof, and the functions and files that took
// most of it by themselves. `node bench/profile.ts SCENARIO [--seconds N] [--top N] [--keep FILE]`.

import { once } from "node:events";
import { copyFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildSallyport, sallyport } from "./peers/kinds/sallyport.ts";
import { openLab } from "./peers/lab.ts";
import { readyLoad } from "./peers/load.ts";
import { count, fail } from "./peers/options.ts";
import { ordersFor } from "./peers/orders.ts";
import { cpuOf } from "./peers/processes.ts";
import { SCENARIOS } from "./peers/scenarios.ts";
import { table } from "./peers/report.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "10" },
    top: { type: "string", default: "40" },
    keep: { type: "string" },
  },
});
const scenario = SCENARIOS.find(({ name }) => name === positionals[0]);
if (scenario === undefined)
  fail(`name one scenario of these: ${SCENARIOS.map(({ name }) => name).join(", ")}`);
const contender = scenario.contenders([sallyport]).find(({ name }) => name === sallyport.name);
if (contender === undefined) fail("Sallyport has no part in it");
const seconds = count(values.seconds) ?? 10;
const top = count(values.top) ?? 40;

const profiles = await mkdtemp(join(tmpdir(), "sallyport-profile-"));
const lab = await openLab({ node: ["--cpu-prof", `--cpu-prof-dir=${profiles}`] });
try {
  buildSallyport();
  const running = await contender.start(lab);
  const asked = { ...scenario.orders(lab, 0), ...contender.orders?.(lab), seconds };
  const load = await readyLoad(lab, ordersFor(lab, running, asked));
  const [from, before] = [nowUs(), await cpuOf(running.pid)];
  const { requests } = await load.run();
  const [to, cpu] = [nowUs(), (await cpuOf(running.pid)) - before];
  await load.end();
  const ended = once(running.child, "exit");
  running.child.kill("SIGTERM");
  await ended;
  console.log(
    `${scenario.title}: ${((cpu / requests) * 1e6).toFixed(1)} us of CPU a request under the profiler`,
  );
  const found = (await readdir(profiles)).filter((name) => name.endsWith(".cpuprofile"));
  const texts = await Promise.all(found.map((name) => readFile(join(profiles, name), "utf8")));
  if (values.keep !== undefined) await copyFile(join(profiles, found[0] ?? ""), values.keep);
  const times = texts.flatMap((text) => selfTimes(JSON.parse(text) as Profile, from, to));
  print(times, requests);
} finally {
  await lab.close();
  await rm(profiles, { recursive: true });
}
process.exit();

/** The clock that profiles are stamped with. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

type Frame = {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
};
type Profile = {
  readonly startTime: number;
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};
type Self = { readonly name: string; readonly file: string; readonly us: number };

/** Of the samples between two moments: neither the start nor the warm-up is in it. */
function selfTimes({ startTime, nodes, samples, timeDeltas }: Profile, from: number, to: number): Self[] {
  const times = new Map<number, number>();
  let at = startTime;
  samples.forEach((id, index) => {
    const delta = timeDeltas[index] ?? 0;
    at += delta;
    if (at >= from && at <= to) times.set(id, (times.get(id) ?? 0) + delta);
  });
  return nodes.map(({ id, callFrame }) => {
    const { functionName, url, lineNumber } = callFrame;
    const file = url.replace(/^file:.*?\/(dist|node_modules)\//, "$1/") || "(runtime)";
    const name = `${functionName || "(anonymous)"}  ${url === "" ? "" : `${file}:${lineNumber + 1}`}`;
    return { name: name.trim(), file, us: times.get(id) ?? 0 };
  });
}

/** Shares are of the time that was not idle. */
function print(all: readonly Self[], requests: number): void {
  const busy = all.filter(({ name }) => name !== "(idle)" && name !== "(root)");
  const whole = busy.reduce((sum, { us }) => sum + us, 0);
  const lines = (key: "name" | "file", title: string): string => {
    const sums = new Map<string, number>();
    for (const one of busy) sums.set(one[key], (sums.get(one[key]) ?? 0) + one.us);
    const sorted = [...sums].sort(([, a], [, b]) => b - a).slice(0, top);
    const share = (us: number): string => `${((us / whole) * 100).toFixed(1)} %`;
    return table([
      [title, "self ms", "share"],
      ...sorted.map(([name, us]) => [name, (us / 1000).toFixed(0), share(us)]),
    ]);
  };
  console.log(`${(whole / 1e6).toFixed(1)} s not idle, ${requests} requests measured\n`);
  console.log(`${lines("name", "function")}\n\n${lines("file", "file")}`);
}
