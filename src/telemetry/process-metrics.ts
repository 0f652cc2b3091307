// prom-client's own metrics of the process, under their usual names. Left out are those whose names promtool refuses (gauges
// called `_total`), and the histogram of garbage collections: it costs an object of Node's for each, hundreds a second and
// 1.4 % of a small request, to count the first of those that were told of together.

import type { Registry } from "prom-client";
import eventLoopLag from "prom-client/lib/metrics/eventLoopLag.js";
import heapSizeAndUsed from "prom-client/lib/metrics/heapSizeAndUsed.js";
import heapSpacesSizeAndUsed from "prom-client/lib/metrics/heapSpacesSizeAndUsed.js";
import osMemoryHeap from "prom-client/lib/metrics/osMemoryHeap.js";
import processCpuTotal from "prom-client/lib/metrics/processCpuTotal.js";
import processHandles from "prom-client/lib/metrics/processHandles.js";
import processMaxFileDescriptors from "prom-client/lib/metrics/processMaxFileDescriptors.js";
import processOpenFileDescriptors from "prom-client/lib/metrics/processOpenFileDescriptors.js";
import processRequests from "prom-client/lib/metrics/processRequests.js";
import processResources from "prom-client/lib/metrics/processResources.js";
import processStartTime from "prom-client/lib/metrics/processStartTime.js";
import version from "prom-client/lib/metrics/version.js";

const OWN = [
  processCpuTotal,
  processStartTime,
  osMemoryHeap,
  processOpenFileDescriptors,
  processMaxFileDescriptors,
  eventLoopLag,
  processResources,
  processHandles,
  processRequests,
  heapSizeAndUsed,
  heapSpacesSizeAndUsed,
  version,
];

export function addProcessMetrics(registry: Registry): void {
  for (const add of OWN) add(registry, { eventLoopMonitoringPrecision: 10 });
  for (const { name } of registry.getMetricsAsArray()) {
    if (name.startsWith("nodejs_active_") && name.endsWith("_total")) registry.removeSingleMetric(name);
  }
}
