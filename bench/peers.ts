// Sallyport beside other proxies: the same load through each in alternating rounds, CPU of all of a proxy's processes.
// `node bench/peers.ts [--only keep-alive,download] [--peers haproxy,squid] [--rounds N] [--seconds N] [--quick] [--json]`.

import { openLab } from "./peers/lab.ts";
import { bare } from "./peers/kinds/bare.ts";
import { goproxy, martian } from "./peers/kinds/golang.ts";
import { haproxy } from "./peers/kinds/haproxy.ts";
import { mitmproxy } from "./peers/kinds/mitmproxy.ts";
import { httpMitmProxy, mockttp, sandboxRuntime } from "./peers/kinds/npm.ts";
import { buildSallyport, sallyport } from "./peers/kinds/sallyport.ts";
import { squid } from "./peers/kinds/squid.ts";
import type { Peer } from "./peers/peer.ts";
import { readOptions } from "./peers/options.ts";
import {
  machine,
  printOutcome,
  printSummary,
  printVerdicts,
  type Verdict,
  verdicts,
} from "./peers/report.ts";
import { latency } from "./peers/latency.ts";
import { memory } from "./peers/memory.ts";
import { runScenario } from "./peers/rounds.ts";
import { type Scenario, SCENARIOS } from "./peers/scenarios.ts";
import type { Study } from "./peers/study.ts";
import { workers } from "./peers/workers.ts";

const PEERS: readonly Peer[] = [
  sallyport,
  bare,
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

const { names, peers: asked, pace, json } = readOptions([...SCENARIOS, ...STUDIES], PEERS);
const there = PEERS.filter((peer) => peer === sallyport || asked.includes(peer.name));
const peers = there.filter((peer) => peer.missing() === undefined);
const say = json ? () => {} : console.log;

const lab = await openLab();
say(machine(pace));
say("Sallyport judges, records and verifies; the others keep no access log and have no policy to speak of");
for (const peer of there.filter((peer) => !peers.includes(peer)))
  say(`left out: ${peer.name}: ${peer.missing()}`);
try {
  buildSallyport();
  const found: Reported[] = [];
  for (const scenario of [...SCENARIOS, ...STUDIES].filter(({ name }) => names.includes(name)))
    found.push("run" in scenario ? await study(scenario) : await compare(scenario));
  if (json) console.log(JSON.stringify(found));
  else printSummary(found);
} finally {
  await lab.close();
}
process.exit();

type Reported = { readonly name: string; readonly targets: readonly Verdict[] };

async function compare(scenario: Scenario): Promise<Reported> {
  const outcome = await runScenario(lab, scenario, scenario.contenders(peers), pace);
  if (!json) printOutcome(scenario, outcome);
  const { rows, left } = outcome;
  const reported = { name: scenario.name, per: scenario.per, rows, left };
  return { ...reported, targets: verdicts(scenario, rows) };
}

async function study(scenario: Study): Promise<Reported> {
  say(`\n## ${scenario.name}: ${scenario.title}\n`);
  try {
    const { figures, text, targets } = await scenario.run(lab, pace);
    say(text);
    if (!json) printVerdicts(targets);
    const reported = { name: scenario.name, figures };
    return { ...reported, targets };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    say(`skipped: ${why}`);
    const reported = { name: scenario.name, skipped: why };
    return { ...reported, targets: [] };
  }
}
