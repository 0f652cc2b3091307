// Sallyport beside other proxies: the same load through each in alternating rounds, CPU of all of a proxy's processes.
// `node bench/peers.ts [--only keep-alive,download] [--peers haproxy,squid] [--rounds N] [--seconds N] [--quick] [--json]`.

import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { has, openLab } from "./peers/lab.ts";
import { goproxy, martian } from "./peers/kinds/golang.ts";
import { haproxy } from "./peers/kinds/haproxy.ts";
import { mitmproxy } from "./peers/kinds/mitmproxy.ts";
import { httpMitmProxy, mockttp, sandboxRuntime } from "./peers/kinds/npm.ts";
import { buildSallyport, sallyport } from "./peers/kinds/sallyport.ts";
import { squid } from "./peers/kinds/squid.ts";
import type { Peer } from "./peers/peer.ts";
import { CORES } from "./peers/processes.ts";
import { printOutcome, verdicts } from "./peers/report.ts";
import { latency } from "./peers/latency.ts";
import { memory } from "./peers/memory.ts";
import { runScenario } from "./peers/rounds.ts";
import { type Scenario, SCENARIOS } from "./peers/scenarios.ts";
import type { Study } from "./peers/study.ts";
import { workers } from "./peers/workers.ts";

const PEERS: readonly Peer[] = [
  sallyport,
  haproxy,
  squid,
  martian,
  goproxy,
  sandboxRuntime,
  httpMitmProxy,
  mockttp,
  mitmproxy,
];

const STUDIES: readonly Study[] = [latency, memory, workers];

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    peers: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const scenarios = chosen("scenario", [...SCENARIOS, ...STUDIES], values.only);
const asked = chosen("peer", PEERS, values.peers).filter((peer) => peer !== sallyport);
const absent = [sallyport, ...asked].filter((peer) => peer.missing() !== undefined);
const peers = [sallyport, ...asked].filter((peer) => !absent.includes(peer));
const pace = {
  rounds: Number(values.rounds ?? (values.quick ? 1 : 5)),
  seconds: Number(values.seconds ?? (values.quick ? 1 : 3)),
};
const say = values.json ? () => {} : console.log;

if (!has("go")) {
  console.log("skipped: the load is written in Go, and there is none (bench/peers/setup.sh installs it)");
  process.exit(0);
}
say(
  `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, Node ${process.version}; ${CORES}; load average ${loadavg()[0]?.toFixed(1)}`,
);
say(`medians of ${pace.rounds} alternating rounds of ${pace.seconds} s; CPU of all processes of a proxy`);
say("Sallyport judges, records and verifies; the others keep no access log and have no policy to speak of");
for (const peer of absent) say(`left out: ${peer.name}: ${peer.missing()}`);
buildSallyport();
const lab = await openLab();
try {
  const found: object[] = [];
  for (const scenario of scenarios)
    found.push("run" in scenario ? await study(scenario) : await compare(scenario));
  if (values.json) console.log(JSON.stringify(found));
} finally {
  await lab.close();
}
process.exit();

async function compare(scenario: Scenario): Promise<object> {
  const outcome = await runScenario(lab, scenario, scenario.contenders(peers), pace);
  if (!values.json) printOutcome(outcome);
  const { rows, left } = outcome;
  return { name: scenario.name, per: scenario.per, rows, left, targets: verdicts(scenario, rows) };
}

async function study(scenario: Study): Promise<object> {
  say(`\n## ${scenario.name}: ${scenario.title}\n`);
  try {
    const { figures, text, targets } = await scenario.run(lab, pace);
    say([text, ...targets].join("\n"));
    return { name: scenario.name, figures, targets };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    say(`skipped: ${why}`);
    return { name: scenario.name, skipped: why };
  }
}

function chosen<Named extends { readonly name: string }>(
  what: string,
  all: readonly Named[],
  list: string | undefined,
): readonly Named[] {
  if (list === undefined) return all;
  const names = list.split(",");
  const unknown = names.filter((name) => !all.some((one) => one.name === name));
  if (unknown.length === 0) return all.filter(({ name }) => names.includes(name));
  console.error(
    `no such ${what}: ${unknown.join(", ")} (there are ${all.map(({ name }) => name).join(", ")})`,
  );
  process.exit(2);
}
