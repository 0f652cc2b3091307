// What the parts count, one method an event. Never lets a value that a sandbox chose become a label, and never throws.

import { Registry } from "prom-client";
import type { Reason } from "../net/reasons.ts";
import type { Stage } from "../policy/types.ts";
import { controlCounters, type ControlMetrics } from "./control-metrics.ts";
import type { CollectedMetrics } from "./merge.ts";
import { type Cell, family, histogram } from "./families.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import {
  ALL_REASONS,
  CONNECTION_OUTCOMES,
  type ConnectionOutcome,
  type Direction,
  EXCHANGE_KINDS,
  type ExchangeKind,
  type HandshakeOutcome,
  METHODS,
  METRICS,
  NONE,
  OTHER,
  RELOAD_OUTCOMES,
  type ReloadOutcome,
  type Side,
  STAGES,
  UPSTREAM_PROTOCOLS,
  UPSTREAM_USES,
  type UpstreamProtocol,
  type UpstreamStep,
  type VerdictLabel,
  WORKER_ENDS,
  WORKER_STATES,
  type WorkerEnd,
  type WorkerState,
} from "./table.ts";

export type DecisionEvent = {
  readonly verdict: VerdictLabel;
  /** Why it was denied or failed, or why report-only would have denied it. */
  readonly reason: Reason | undefined;
  readonly stage: Stage | undefined;
  /** As the sandbox sent it; one that is not registered is counted as `other`. */
  readonly method: string | undefined;
  /** As the policy names it, never as a sandbox does. */
  readonly preset: string | undefined;
};

export type Metrics = ControlMetrics & {
  decision(event: DecisionEvent): void;
  exchangeStart(kind: ExchangeKind): void;
  exchangeEnd(kind: ExchangeKind): void;
  connectionOpen(): void;
  /** Once for each `connectionOpen`; `refused`: closed before it said anything. */
  connectionClose(outcome: ConnectionOutcome): void;
  bytes(direction: Direction, kind: ExchangeKind, octets: number): void;
  /** Request head complete to request head written upstream, less DNS, dial and TLS of the origin. */
  addedLatency(ms: number): void;
  /** Request written to response head. */
  originLatency(ms: number): void;
  upstreamDuration(step: UpstreamStep, ms: number): void;
  upstreamOpen(protocol: UpstreamProtocol): void;
  upstreamReuse(): void;
  upstreamClose(): void;
  handshake(side: Side, outcome: HandshakeOutcome): void;
  leafMint(): void;
  leafCacheHit(): void;
  leafCacheEntries(entries: number): void;
  auditQueue(records: number): void;
  auditBatch(records: number): void;
  auditFailure(): void;
  auditHealthy(healthy: boolean): void;
  auditLost(records: number): void;
  storeHealthy(healthy: boolean): void;
  configReload(outcome: ReloadOutcome): void;
  policyGeneration(generation: number): void;
  fault(reason: Reason): void;
  malformed(reason: Reason): void;
  limit(reason: Reason): void;
  logDropped(lines: number): void;
  /** All workers, by state. */
  workers(states: Readonly<Record<WorkerState, number>>): void;
  workerEnd(cause: WorkerEnd): void;
  workerScrapeMissed(): void;
  /** For another process to merge; see merge.ts. */
  collected(): Promise<CollectedMetrics>;
  /** Content type of `exposition`. */
  readonly contentType: string;
  /** Everything in Prometheus' text format. */
  exposition(): Promise<string>;
};

export function createMetrics({ version }: { readonly version: string }): Metrics {
  const registry = new Registry();
  const metrics: Metrics = {
    decision: decisionCounter(registry),
    ...trafficCounters(registry),
    ...upstreamCounters(registry),
    ...tlsCounters(registry),
    ...auditCounters(registry),
    storeHealthy: storeGauge(registry),
    ...configCounters(registry),
    ...failureCounters(registry),
    ...workerCounters(registry),
    ...controlCounters(registry),
    contentType: registry.contentType,
    exposition: () => registry.metrics(),
    collected: () => registry.getMetricsAsJSON(),
  };
  family(registry, METRICS.buildInfo)(version, process.version).value = 1;
  addProcessMetrics(registry);
  return metrics;
}

type Part<Name extends keyof Metrics> = Pick<Metrics, Name>;

function trafficCounters(
  registry: Registry,
): Part<"exchangeStart" | "exchangeEnd" | "connectionOpen" | "connectionClose" | "bytes"> {
  const exchanges = byValue(EXCHANGE_KINDS, family(registry, METRICS.exchangesInFlight));
  const open = family(registry, METRICS.connectionsOpen)();
  const connections = byValue(CONNECTION_OUTCOMES, family(registry, METRICS.connections));
  const bytes = family(registry, METRICS.bytes);
  const up = byValue(EXCHANGE_KINDS, (kind) => bytes("up", kind));
  const down = byValue(EXCHANGE_KINDS, (kind) => bytes("down", kind));
  return {
    exchangeStart: (kind) => void exchanges[kind].value++,
    exchangeEnd: (kind) => void exchanges[kind].value--,
    connectionOpen: () => void open.value++,
    connectionClose(outcome) {
      open.value--;
      connections[outcome].value++;
    },
    bytes: (direction, kind, octets) => void ((direction === "up" ? up : down)[kind].value += octets),
  };
}

function upstreamCounters(
  registry: Registry,
): Part<
  "addedLatency" | "originLatency" | "upstreamDuration" | "upstreamOpen" | "upstreamReuse" | "upstreamClose"
> {
  const added = histogram(registry, METRICS.addedLatency).get("");
  const origin = histogram(registry, METRICS.originLatency).get("");
  const steps = histogram(registry, METRICS.upstreamDuration);
  const open = family(registry, METRICS.upstreamOpen)();
  const uses = byValue(UPSTREAM_USES, family(registry, METRICS.upstreamConnections));
  const protocols = byValue(UPSTREAM_PROTOCOLS, family(registry, METRICS.upstreamProtocols));
  return {
    addedLatency: (ms) => added?.(seconds(ms)),
    originLatency: (ms) => origin?.(seconds(ms)),
    upstreamDuration: (step, ms) => steps.get(step)?.(seconds(ms)),
    upstreamOpen(protocol) {
      open.value++;
      protocols[protocol].value++;
      uses.opened.value++;
    },
    upstreamReuse: () => void uses.reused.value++,
    upstreamClose: () => void open.value--,
  };
}

function tlsCounters(
  registry: Registry,
): Part<"handshake" | "leafMint" | "leafCacheHit" | "leafCacheEntries"> {
  const handshakes = family(registry, METRICS.handshakes);
  const minted = family(registry, METRICS.leavesMinted)();
  const hits = family(registry, METRICS.leafCacheHits)();
  const kept = family(registry, METRICS.leafCacheEntries)();
  return {
    handshake: (side, outcome) => void handshakes(side, outcome).value++,
    leafMint: () => void minted.value++,
    leafCacheHit: () => void hits.value++,
    leafCacheEntries: (entries) => void (kept.value = entries),
  };
}

function auditCounters(
  registry: Registry,
): Part<"auditQueue" | "auditBatch" | "auditFailure" | "auditHealthy" | "auditLost"> {
  const queue = family(registry, METRICS.auditQueue)();
  const batches = family(registry, METRICS.auditBatches)();
  const records = family(registry, METRICS.auditRecords)();
  const failures = family(registry, METRICS.auditFailures)();
  const healthy = family(registry, METRICS.auditHealthy)();
  const lost = family(registry, METRICS.auditLost)();
  // Before anything was written it stands at what an alert must not fire on.
  healthy.value = 1;
  return {
    auditQueue: (waiting) => void (queue.value = waiting),
    auditBatch(written) {
      batches.value++;
      records.value += written;
    },
    auditFailure: () => void failures.value++,
    auditHealthy: (is) => void (healthy.value = is ? 1 : 0),
    auditLost: (count) => void (lost.value += count),
  };
}

function storeGauge(registry: Registry): Metrics["storeHealthy"] {
  const healthy = family(registry, METRICS.storeHealthy)();
  healthy.value = 1;
  return (is) => void (healthy.value = is ? 1 : 0);
}

function configCounters(registry: Registry): Part<"configReload" | "policyGeneration"> {
  const reloads = byValue(RELOAD_OUTCOMES, family(registry, METRICS.configReloads));
  const last = family(registry, METRICS.configLastReloadSuccess)();
  const generation = family(registry, METRICS.policyGeneration)();
  // What the start read is in force, or there would be no process.
  last.value = 1;
  return {
    configReload(outcome) {
      reloads[outcome].value++;
      last.value = outcome === "success" ? 1 : 0;
    },
    policyGeneration: (number) => void (generation.value = number),
  };
}

function failureCounters(registry: Registry): Part<"fault" | "malformed" | "limit" | "logDropped"> {
  const faults = family(registry, METRICS.faults);
  const malformed = family(registry, METRICS.malformed);
  const limits = family(registry, METRICS.limits);
  const dropped = family(registry, METRICS.logDropped)();
  return {
    fault: (reason) => void faults(reason).value++,
    malformed: (reason) => void malformed(reason).value++,
    limit: (reason) => void limits(reason).value++,
    logDropped: (lines) => void (dropped.value += lines),
  };
}

function workerCounters(registry: Registry): Part<"workers" | "workerEnd" | "workerScrapeMissed"> {
  const states = byValue(WORKER_STATES, family(registry, METRICS.workers));
  const ends = byValue(WORKER_ENDS, family(registry, METRICS.workerEnds));
  const missed = family(registry, METRICS.workerScrapesMissed)();
  return {
    workers(counts) {
      for (const state of WORKER_STATES) states[state].value = counts[state];
    },
    workerEnd: (cause) => void ends[cause].value++,
    workerScrapeMissed: () => void missed.value++,
  };
}

/** Cells are found by one number made of the labels' places in their sets. */
function decisionCounter(registry: Registry): (event: DecisionEvent) => void {
  const cellOf = family(registry, METRICS.decisions);
  const cells = new Map<number, Cell>();
  const reasons = places(ALL_REASONS);
  const methods = places(METHODS);
  const presets = new Map<string, number>();
  const presetPlace = (preset: string): number | undefined => {
    const place = presets.get(preset);
    if (place !== undefined || presets.size >= MAX_PRESETS) return place;
    presets.set(preset, presets.size + 2);
    return presets.size + 1;
  };
  return ({ verdict, reason, stage, method, preset }) => {
    const m = method === undefined ? 0 : (methods.get(method) ?? 1);
    const p = preset === undefined ? 0 : (presetPlace(preset) ?? 1);
    const r = reason === undefined ? 0 : (reasons.get(reason) ?? 1);
    const v = verdict === "allow" ? 0 : verdict === "deny" ? 1 : 2;
    const s = stage === undefined ? 0 : STAGES.indexOf(stage) + 1;
    const at = (((p * 256 + r) * 16 + m) * 8 + s) * 4 + v;
    let cell = cells.get(at);
    if (cell === undefined) {
      const methodLabel = m === 0 ? NONE : m === 1 ? OTHER : method;
      const presetLabel = p === 0 ? NONE : p === 1 ? OTHER : preset;
      cell = cellOf(verdict, reason ?? NONE, stage ?? NONE, methodLabel ?? NONE, presetLabel ?? NONE);
      cells.set(at, cell);
    }
    cell.value++;
  };
}

/** Places from 2 on: 0 is for none, 1 for other. */
function places(values: readonly string[]): Map<string, number> {
  return new Map(values.map((value, at) => [value, at + 2]));
}

function byValue<V extends string>(values: readonly V[], cell: (value: V) => Cell): Record<V, Cell> {
  return Object.fromEntries(values.map((value) => [value, cell(value)])) as Record<V, Cell>;
}

/** A clock that steps back must not make a histogram's sum fall. */
function seconds(ms: number): number {
  return Math.max(ms, 0) / 1000;
}

/** Presets are the operator's; past so many, further names share `other`. */
const MAX_PRESETS = 256;
