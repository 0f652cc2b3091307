// What a request costs the whole proxy: CPU time of its process per request, policy and audit on, the origin's certificate
// verified. Origin and load run in processes of their own. `node bench/proxy.ts [--json] [--quick]`. Reports, never gates.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createCa } from "../test/support/pki.ts";
import { killAll, runLoad, startOrigin, startProxy } from "./support/children.ts";

const CONNECTIONS = 32;
const ROUNDS = process.argv.includes("--quick") ? 1 : 5;
const REQUESTS = process.argv.includes("--quick") ? 500 : 10_000;

type Scenario = {
  readonly name: string;
  readonly mode: "tls" | "plain" | "connect-each" | "refused";
  readonly requests: number;
};
const SCENARIOS: readonly Scenario[] = [
  { name: "intercepted GET, 1 KiB, keep-alive", mode: "tls", requests: REQUESTS },
  {
    name: "intercepted GET, new connection each, leaf cached",
    mode: "connect-each",
    requests: REQUESTS / 10,
  },
  { name: "plain HTTP GET, 1 KiB, keep-alive", mode: "plain", requests: REQUESTS },
  { name: "refused POST inside a tunnel, keep-alive", mode: "refused", requests: REQUESTS },
];

const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
try {
  const ca = createCa();
  const leaf = ca.issue({ names: ["origin.test"] });
  await writeFile(join(directory, "test-ca.pem"), ca.cert);
  const origin = await startOrigin(leaf.chain, leaf.key);
  await writeFile(join(directory, "sallyport.yaml"), configuration());
  const proxy = await startProxy(directory);
  const trusted = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const rows = [];
  for (const scenario of SCENARIOS) {
    const load = {
      ...scenario,
      proxy: proxy.ports[0],
      origin: origin.ports,
      trusted,
      connections: CONNECTIONS,
    };
    await runLoad({ ...load, requests: Math.min(500, scenario.requests) });
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const before = await cpuOf(proxy.pid);
      const { seconds, p50, p99 } = await runLoad(load);
      const spent = (await cpuOf(proxy.pid)) - before;
      rounds.push({
        cpu: (spent / scenario.requests) * 1e6,
        perSecond: scenario.requests / seconds,
        p50,
        p99,
      });
    }
    rows.push({ name: scenario.name, ...medians(rounds) });
  }
  const resident = await residentOf(proxy.pid);
  print(rows, resident);
} finally {
  killAll();
  await rm(directory, { recursive: true, force: true });
}

function configuration(): string {
  return `
listen: ["127.0.0.1:0"]
admin: false
log: { level: silent }
upstream: { trust: [system, ${join(directory, "test-ca.pem")}], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: common-dependencies
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
`;
}

/** Seconds of user and system time. */
async function cpuOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function residentOf(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}

function medians<Row extends Record<string, number>>(rows: readonly Row[]): Row {
  const names = Object.keys(rows[0] ?? {});
  const middle = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
  return Object.fromEntries(names.map((name) => [name, middle(rows.map((row) => row[name] ?? 0))])) as Row;
}

function print(
  rows: readonly ({ name: string } & Record<string, number | string>)[],
  resident: number,
): void {
  const machine = `${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`;
  if (process.argv.includes("--json")) {
    console.log(
      JSON.stringify({ machine, connections: CONNECTIONS, rounds: ROUNDS, rows, residentMiB: resident }),
    );
    return;
  }
  console.log(`${machine}; ${CONNECTIONS} connections, medians of ${ROUNDS} rounds`);
  for (const { name, cpu, perSecond, p50, p99 } of rows) {
    console.log(
      `${name.padEnd(52)} ${Number(cpu).toFixed(0)} us CPU, ${Number(perSecond).toFixed(0)}/s, p50 ${Number(p50).toFixed(1)} ms, p99 ${Number(p99).toFixed(1)} ms`,
    );
  }
  console.log(`resident afterwards: ${resident.toFixed(0)} MiB`);
}
