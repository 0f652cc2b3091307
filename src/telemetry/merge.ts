// Several processes' metrics as one: counters and histograms add up, gauges as the table says. What has ended keeps what it
// counted, so that no sum ever falls.

import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from "prom-client";

/** What one process has counted, as it crosses to another. */
export type CollectedMetrics = readonly MetricObjectWithValues<MetricValue<string>>[];

/** In Prometheus' text format. */
export async function mergeMetrics(sets: readonly CollectedMetrics[]): Promise<string> {
  return AggregatorRegistry.aggregate([...sets]).metrics();
}

/** What of an ended process' metrics still counts, added to what is known of those before it. */
export async function retireMetrics(
  before: CollectedMetrics | undefined,
  ended: CollectedMetrics,
): Promise<CollectedMetrics> {
  const counted = ended.filter((metric) => COUNTED.has(metric.type.toString()));
  if (before === undefined) return counted;
  return AggregatorRegistry.aggregate([[...before], [...counted]]).getMetricsAsJSON();
}

const COUNTED = new Set(["counter", "histogram"]);
