import { expect, test } from "vitest";
import { mergeMetrics, retireMetrics } from "../../src/telemetry/merge.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";

function process(change: (metrics: Metrics) => void): Metrics {
  const metrics = createMetrics({ version: "1" });
  change(metrics);
  return metrics;
}

async function merged(...all: readonly Metrics[]): Promise<string> {
  return mergeMetrics(await Promise.all(all.map((metrics) => metrics.collected())));
}

test("counters and histograms add up; gauges are the least, the first, or the sum, as the table says", async () => {
  const text = await merged(
    process((metrics) => {
      metrics.leafMint();
      metrics.originLatency(40);
      metrics.connectionOpen();
      metrics.policyGeneration(3);
    }),
    process((metrics) => {
      metrics.leafMint();
      metrics.originLatency(60);
      metrics.connectionOpen();
      metrics.policyGeneration(2);
      metrics.auditHealthy(false);
    }),
  );
  expect(text).toMatch(/^sallyport_leaves_minted_total 2$/m);
  expect(text).toMatch(/^sallyport_origin_latency_seconds_count 2$/m);
  expect(text).toMatch(/^sallyport_origin_latency_seconds_sum 0\.1$/m);
  expect(text).toMatch(/^sallyport_origin_latency_seconds_bucket\{le="0\.05"\} 1$/m);
  expect(text).toMatch(/^sallyport_connections_open 2$/m);
  expect(text).toMatch(/^sallyport_policy_generation 2$/m);
  expect(text).toMatch(/^sallyport_audit_healthy 0$/m);
  expect(text).toMatch(/^sallyport_build_info\{version="1",node_version="[^"]+"\} 1$/m);
});

test("what has ended keeps its counts, and none of its gauges", async () => {
  const first = process((metrics) => {
    metrics.leafMint();
    metrics.connectionOpen();
    metrics.auditHealthy(false);
  });
  const second = process((metrics) => metrics.leafMint());
  const one = await retireMetrics(undefined, await first.collected());
  const both = await retireMetrics(one, await second.collected());
  const text = await mergeMetrics([await process(() => {}).collected(), both]);
  expect(text).toMatch(/^sallyport_leaves_minted_total 2$/m);
  expect(text).toMatch(/^sallyport_connections_open 0$/m);
  expect(text).toMatch(/^sallyport_audit_healthy 1$/m);
});
