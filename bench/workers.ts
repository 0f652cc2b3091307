// What workers cost and bring: CPU of all of the proxy's processes per request, the rate, and memory at rest, for one process and
// for two workers in alternating rounds. `node bench/workers.ts [--json] [--quick]`. Reports, never gates.

import { mkdtemp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createCa } from "../test/support/pki.ts";
import { killAll, runLoad, startOrigin, startProxy } from "./support/children.ts";

const QUICK = process.argv.includes("--quick");
const ROUNDS = QUICK ? 1 : 5;
const COUNTS = [1, 2];
const SCENARIOS = [
  { name: "intercepted GET, 1 KiB, keep-alive", mode: "tls", requests: QUICK ? 500 : 10_000 },
  {
    name: "intercepted GET, new connection each, leaf cached",
    mode: "connect-each",
    requests: QUICK ? 50 : 1_000,
  },
];

type Proxy = {
  readonly workers: number;
  readonly pid: number;
  readonly port: number;
  readonly trusted: string;
};
type Row = {
  readonly name: string;
  readonly workers: number;
  readonly cpu: number;
  readonly perSecond: number;
};

const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
try {
  const ca = createCa();
  const leaf = ca.issue({ names: ["origin.test"] });
  await writeFile(join(directory, "test-ca.pem"), ca.cert);
  const origin = await startOrigin(leaf.chain, leaf.key);
  const proxies = await Promise.all(COUNTS.map(proxyOf));
  const memory = await Promise.all(proxies.map(({ pid }) => restOf(pid)));
  const rows: Row[] = [];
  for (const { name, ...scenario } of SCENARIOS) {
    const rounds: Row[] = [];
    for (let round = -1; round < ROUNDS; round++) {
      for (const { workers, pid, port, trusted } of proxies) {
        const before = await cpuOf(pid);
        const { seconds } = await runLoad({
          ...scenario,
          proxy: port,
          origin: origin.ports,
          trusted,
          connections: 32,
        });
        const cpu = (((await cpuOf(pid)) - before) / scenario.requests) * 1e6;
        // The first warms up.
        if (round >= 0) rounds.push({ name, workers, cpu, perSecond: scenario.requests / seconds });
      }
    }
    for (const workers of COUNTS) {
      const of = rounds.filter((row) => row.workers === workers);
      const [cpu, perSecond] = [median(of.map((row) => row.cpu)), median(of.map((row) => row.perSecond))];
      rows.push({ name, workers, cpu, perSecond });
    }
  }
  print(rows, memory);
} finally {
  killAll();
  await rm(directory, { recursive: true, force: true });
}

async function proxyOf(workers: number): Promise<Proxy> {
  const own = join(directory, String(workers));
  await mkdir(own);
  await writeFile(
    join(own, "sallyport.yaml"),
    `
listen: ["127.0.0.1:0"]
admin: false
workers: ${workers}
log: { level: silent }
upstream: { trust: [system, ../test-ca.pem], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: common-dependencies
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
`,
  );
  const { pid, ports } = await startProxy(own);
  return { workers, pid, port: ports[0] ?? 0, trusted: await readFile(join(own, "certs", "ca.pem"), "utf8") };
}

/** A process and its children. */
async function family(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`);
  const texts = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, "utf8"));
  const of = (await Promise.all(texts)).flatMap((text) => text.trim().split(" ").filter(Boolean).map(Number));
  return [pid, ...of];
}

/** Seconds of user and system time, of all of its processes. */
async function cpuOf(pid: number): Promise<number> {
  let ticks = 0;
  for (const one of await family(pid)) {
    const fields = (await readFile(`/proc/${one}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}

/** Resident MiB of each process. */
async function restOf(pid: number): Promise<number[]> {
  const texts = (await family(pid)).map((one) => readFile(`/proc/${one}/status`, "utf8"));
  return (await Promise.all(texts)).map((text) => Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

function print(rows: readonly Row[], memory: readonly (readonly number[])[]): void {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`;
  if (process.argv.includes("--json"))
    return console.log(JSON.stringify({ machine, rounds: ROUNDS, rows, memory }));
  console.log(`${machine}; 32 connections, medians of ${ROUNDS} rounds`);
  for (const { name, workers, cpu, perSecond } of rows) {
    const what = `${name}, workers: ${workers}`;
    console.log(`${what.padEnd(64)} ${cpu.toFixed(0)} us CPU, ${perSecond.toFixed(0)}/s`);
  }
  for (const [index, all] of memory.entries())
    console.log(`at rest, workers: ${COUNTS[index]}: ${all.map((mib) => mib.toFixed(0)).join(" + ")} MiB`);
}
