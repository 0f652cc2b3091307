import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Stage } from "../../src/policy/types.ts";
import { createMetrics, type DecisionEvent, type Metrics } from "../../src/telemetry/metrics.ts";
import { type Definition, METRICS } from "../../src/telemetry/table.ts";

const PROMTOOL = "/usr/bin/promtool";

const decision: DecisionEvent = {
  verdict: "deny",
  reason: "host-not-allowed",
  stage: "request",
  method: "GET",
  preset: undefined,
};

/** Samples of one metric, `{labels} value` each. */
async function samples(metrics: Metrics, name: string): Promise<string[]> {
  const lines = (await metrics.exposition()).split("\n");
  return lines
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => line.slice(name.length));
}

function everyEvent(metrics: Metrics): void {
  metrics.decision(decision);
  metrics.decision({ ...decision, verdict: "allow", reason: undefined, preset: "npm" });
  metrics.decision({
    verdict: "fault",
    reason: "dns-failed",
    stage: undefined,
    method: undefined,
    preset: undefined,
  });
  metrics.exchangeStart("request");
  metrics.connectionOpen();
  metrics.connectionOpen();
  metrics.connectionClose("refused");
  metrics.bytes("up", "request", 10);
  metrics.bytes("down", "tunnel", 20);
  metrics.addedLatency(1.5);
  metrics.originLatency(40);
  metrics.upstreamDuration("tls", 12);
  metrics.upstreamOpen("h2");
  metrics.upstreamReuse();
  metrics.handshake("downstream", "resumed");
  metrics.leafMint();
  metrics.leafCacheHit();
  metrics.leafCacheEntries(7);
  metrics.auditQueue(3);
  metrics.auditBatch(5);
  metrics.auditFailure();
  metrics.auditHealthy(false);
  metrics.auditLost(2);
  metrics.storeHealthy(false);
  metrics.configReload("failure");
  metrics.policyGeneration(4);
  metrics.fault("dns-failed");
  metrics.malformed("host-ambiguous");
  metrics.limit("draining");
  metrics.logDropped(9);
  metrics.workers({ starting: 1, ready: 2, stale: 3, draining: 4 });
  metrics.workerEnd("crashed");
  metrics.workerScrapeMissed();
}

test("every event is counted where the table says", async () => {
  const metrics = createMetrics({ version: "1.2.3" });
  everyEvent(metrics);
  const expected: [string, string[]][] = [
    [
      METRICS.decisions.name,
      [
        '{verdict="deny",reason="host-not-allowed",stage="request",method="GET",preset="none"} 1',
        '{verdict="allow",reason="none",stage="request",method="GET",preset="npm"} 1',
        '{verdict="fault",reason="dns-failed",stage="none",method="none",preset="none"} 1',
      ],
    ],
    [
      METRICS.exchangesInFlight.name,
      ['{kind="request"} 1', '{kind="tunnel"} 0', '{kind="upgrade"} 0', '{kind="dns"} 0'],
    ],
    [METRICS.connectionsOpen.name, [" 1"]],
    [
      METRICS.workers.name,
      ['{state="starting"} 1', '{state="ready"} 2', '{state="stale"} 3', '{state="draining"} 4'],
    ],
    [METRICS.workerEnds.name, ['{cause="crashed"} 1', '{cause="unresponsive"} 0', '{cause="asked"} 0']],
    [METRICS.workerScrapesMissed.name, [" 1"]],
    [`${METRICS.addedLatency.name}_sum`, [" 0.0015"]],
    [`${METRICS.originLatency.name}_sum`, [" 0.04"]],
    [`${METRICS.upstreamDuration.name}_count`, ['{step="dns"} 0', '{step="dial"} 0', '{step="tls"} 1']],
    [METRICS.upstreamOpen.name, [" 1"]],
    [METRICS.upstreamConnections.name, ['{use="opened"} 1', '{use="reused"} 1']],
    [METRICS.upstreamProtocols.name, ['{protocol="http/1.1"} 0', '{protocol="h2"} 1']],
    [METRICS.leavesMinted.name, [" 1"]],
    [METRICS.leafCacheHits.name, [" 1"]],
    [METRICS.leafCacheEntries.name, [" 7"]],
    [METRICS.auditQueue.name, [" 3"]],
    [METRICS.auditBatches.name, [" 1"]],
    [METRICS.auditRecords.name, [" 5"]],
    [METRICS.auditFailures.name, [" 1"]],
    [METRICS.auditHealthy.name, [" 0"]],
    [METRICS.auditLost.name, [" 2"]],
    [METRICS.storeHealthy.name, [" 0"]],
    [METRICS.configReloads.name, ['{outcome="success"} 0', '{outcome="failure"} 1']],
    [METRICS.configLastReloadSuccess.name, [" 0"]],
    [METRICS.policyGeneration.name, [" 4"]],
    [METRICS.logDropped.name, [" 9"]],
    [METRICS.buildInfo.name, [`{version="1.2.3",node_version="${process.version}"} 1`]],
  ];
  for (const [name, lines] of expected) expect([name, await samples(metrics, name)]).toEqual([name, lines]);
  const some: [string, string][] = [
    [METRICS.connections.name, '{outcome="refused"} 1'],
    [METRICS.bytes.name, '{direction="up",kind="request"} 10'],
    [METRICS.bytes.name, '{direction="down",kind="tunnel"} 20'],
    [METRICS.handshakes.name, '{side="downstream",outcome="resumed"} 1'],
    [METRICS.faults.name, '{reason="dns-failed"} 1'],
    [METRICS.malformed.name, '{reason="host-ambiguous"} 1'],
    [METRICS.limits.name, '{reason="draining"} 1'],
  ];
  for (const [name, line] of some) expect(await samples(metrics, name)).toContain(line);
});

test("what ends leaves its gauge, and a second scrape reads the same", async () => {
  const metrics = createMetrics({ version: "1" });
  metrics.exchangeStart("tunnel");
  metrics.exchangeEnd("tunnel");
  metrics.upstreamOpen("h2");
  metrics.upstreamClose();
  metrics.connectionOpen();
  metrics.connectionClose("completed");
  metrics.addedLatency(-5);
  for (const _ of [1, 2]) {
    expect(await samples(metrics, METRICS.exchangesInFlight.name)).toContain('{kind="tunnel"} 0');
    expect(await samples(metrics, METRICS.upstreamOpen.name)).toEqual([" 0"]);
    expect(await samples(metrics, METRICS.connectionsOpen.name)).toEqual([" 0"]);
    expect(await samples(metrics, METRICS.connections.name)).toContain('{outcome="completed"} 1');
    expect(await samples(metrics, `${METRICS.addedLatency.name}_sum`)).toEqual([" 0"]);
  }
});

describe("labels stay bounded", () => {
  test("a sandbox's methods become one of the fixed set", async () => {
    const metrics = createMetrics({ version: "1" });
    const hostile = [
      "get",
      "GET ",
      "__proto__",
      "constructor",
      "PROPFIND",
      'X"} 1\nfake_total 9',
      "\u202e",
      "",
      "M".repeat(70_000),
    ];
    for (const method of hostile) metrics.decision({ ...decision, method });
    for (let n = 0; n < 20_000; n++) metrics.decision({ ...decision, method: `M${n}` });
    expect(await samples(metrics, METRICS.decisions.name)).toEqual([
      `{verdict="deny",reason="host-not-allowed",stage="request",method="other",preset="none"} ${20_000 + hostile.length}`,
    ]);
    expect(await metrics.exposition()).not.toContain("fake_total");
  });

  test("preset names past the bound share one series", async () => {
    const metrics = createMetrics({ version: "1" });
    for (let n = 0; n < 1_000; n++) metrics.decision({ ...decision, preset: `p${n}` });
    for (let n = 0; n < 1_000; n++) metrics.decision({ ...decision, preset: `p${n}` });
    const lines = await samples(metrics, METRICS.decisions.name);
    expect(lines).toHaveLength(257);
    expect(lines).toContain(
      '{verdict="deny",reason="host-not-allowed",stage="request",method="GET",preset="p255"} 2',
    );
    expect(lines.at(-1)).toContain('preset="other"} 1488');
  });

  test("each combination has a series of its own", async () => {
    const metrics = createMetrics({ version: "1" });
    const stages: (Stage | undefined)[] = [undefined, "connect", "client-hello", "request", "address"];
    let events = 0;
    for (const stage of stages) {
      for (const verdict of ["allow", "deny", "fault"] as const) {
        for (const method of [undefined, "GET", "TRACE", "odd"]) {
          for (const reason of [undefined, "host-denied", "certificate-invalid"] as const) {
            for (const preset of [undefined, "a", "b"]) {
              metrics.decision({ verdict, reason, stage, method, preset });
              events++;
            }
          }
        }
      }
    }
    const lines = await samples(metrics, METRICS.decisions.name);
    expect(new Set(lines).size).toBe(events);
    expect(lines.every((line) => line.endsWith(" 1"))).toBe(true);
  });

  test("every label of the table lists its values, or says who names them", () => {
    for (const { name, labels } of Object.values<Definition>(METRICS)) {
      for (const [label, { values, says }] of Object.entries(labels)) {
        expect(values !== undefined || says !== undefined, `${name} ${label}`).toBe(true);
      }
    }
  });
});

test.skipIf(!existsSync(PROMTOOL))("promtool finds nothing to say, empty or filled", async () => {
  for (const fill of [() => {}, everyEvent]) {
    const metrics = createMetrics({ version: "1.0.0" });
    fill(metrics);
    const checked = spawnSync(PROMTOOL, ["check", "metrics"], {
      input: await metrics.exposition(),
      encoding: "utf8",
    });
    expect({ status: checked.status, said: checked.stdout + checked.stderr }).toEqual({
      status: 0,
      said: "",
    });
  }
});

test("two sets of metrics share nothing", async () => {
  const [a, b] = [createMetrics({ version: "1" }), createMetrics({ version: "1" })];
  a.leafMint();
  expect(await samples(b, METRICS.leavesMinted.name)).toEqual([" 0"]);
});
