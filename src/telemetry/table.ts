// Every metric of Sallyport, once: its name, type, help, labels and buckets. The registry and docs/metrics.md are both made from
// this table. No label takes a value that a sandbox chooses (invariant 9): each lists all its values, or says who names them.

import { REASONS, type Reason, type ReasonKind } from "../net/reasons.ts";
import type { Stage } from "../policy/types.ts";
import { CONTROL_METRICS } from "./control-metrics.ts";

type LabelSet = {
  /** All values; `undefined` where the operator's configuration names them. */
  readonly values: readonly string[] | undefined;
  /** Stands in the docs in place of a long list of values. */
  readonly says?: string;
};

export type Definition = {
  readonly name: `sallyport_${string}`;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelSet>>;
  /** Upper bounds of a histogram's buckets, in seconds. */
  readonly buckets?: readonly number[];
  /** What several processes' values make together; their sum where it does not say. */
  readonly merge?: "min" | "first";
  /** Series appear as they are first counted, in place of all standing at 0 from the start. */
  readonly sparse?: true;
};

export const NONE = "none";
export const OTHER = "other";

const VERDICTS = ["allow", "deny", "fault"] as const;
export const STAGES = ["connect", "client-hello", "request", "address"] as const satisfies readonly Stage[];
/** RFC 9110 §9.3 and PATCH (RFC 5789); whatever else a sandbox sends is `other`. */
export const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
] as const;
export const EXCHANGE_KINDS = ["request", "tunnel", "upgrade", "dns"] as const;
const DIRECTIONS = ["up", "down"] as const;
export const CONNECTION_OUTCOMES = ["completed", "refused", "aborted", "fault"] as const;
const SIDES = ["downstream", "upstream"] as const;
const HANDSHAKE_OUTCOMES = ["full", "resumed", "failed"] as const;
const UPSTREAM_STEPS = ["dns", "dial", "tls"] as const;
export const UPSTREAM_USES = ["opened", "reused"] as const;
export const UPSTREAM_PROTOCOLS = ["http/1.1", "h2"] as const;
export const RELOAD_OUTCOMES = ["success", "failure"] as const;
/** `stale`: of an older generation than the one in force, or silent. */
export const WORKER_STATES = ["starting", "ready", "stale", "draining"] as const;
export const WORKER_ENDS = ["crashed", "unresponsive", "asked"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];
export type WorkerEnd = (typeof WORKER_ENDS)[number];
export type VerdictLabel = (typeof VERDICTS)[number];
export type ExchangeKind = (typeof EXCHANGE_KINDS)[number];
export type Direction = (typeof DIRECTIONS)[number];
export type ConnectionOutcome = (typeof CONNECTION_OUTCOMES)[number];
export type Side = (typeof SIDES)[number];
export type HandshakeOutcome = (typeof HANDSHAKE_OUTCOMES)[number];
export type UpstreamStep = (typeof UPSTREAM_STEPS)[number];
export type UpstreamProtocol = (typeof UPSTREAM_PROTOCOLS)[number];
export type ReloadOutcome = (typeof RELOAD_OUTCOMES)[number];

export const ALL_REASONS = Object.keys(REASONS) as Reason[];
const FAULT_REASONS = ofKind("fault");
const MALFORMED_REASONS = ofKind("malformed");
const LIMIT_REASONS = ofKind("limit");

export const METRICS = {
  decisions: {
    name: "sallyport_decisions_total",
    type: "counter",
    help: "Decisions taken. An allow with a reason is one that report-only let pass.",
    labels: {
      verdict: { values: VERDICTS },
      reason: { values: [...ALL_REASONS, NONE], says: "a [reason](reasons.md) or `none`" },
      stage: { values: [...STAGES, NONE] },
      method: { values: [...METHODS, OTHER, NONE] },
      preset: {
        values: undefined,
        says: "the preset that allowed it, as the configuration names it, or `none`",
      },
    },
    sparse: true,
  },
  exchangesInFlight: {
    name: "sallyport_exchanges_in_flight",
    type: "gauge",
    help: "Exchanges that have begun and not ended.",
    labels: { kind: { values: EXCHANGE_KINDS } },
  },
  connectionsOpen: {
    name: "sallyport_connections_open",
    type: "gauge",
    help: "Open connections from sandboxes.",
    labels: {},
  },
  connections: {
    name: "sallyport_connections_total",
    type: "counter",
    help: "Connections from sandboxes that have ended.",
    labels: { outcome: { values: CONNECTION_OUTCOMES } },
  },
  bytes: {
    name: "sallyport_bytes_total",
    type: "counter",
    help: "Octets sent to origins (up) and to sandboxes (down): heads, bodies, tunnel and upgraded octets; TLS overhead aside.",
    labels: { direction: { values: DIRECTIONS }, kind: { values: EXCHANGE_KINDS } },
  },
  addedLatency: {
    name: "sallyport_added_latency_seconds",
    type: "histogram",
    help: "Time the proxy itself adds: from the request head's last octet read to its first octet written upstream, less DNS, dial and TLS of the origin.",
    labels: {},
    buckets: [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
  },
  originLatency: {
    name: "sallyport_origin_latency_seconds",
    type: "histogram",
    help: "Time the origin takes: from the request written upstream to its response head read.",
    labels: {},
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
  },
  upstreamDuration: {
    name: "sallyport_upstream_duration_seconds",
    type: "histogram",
    help: "Time of each step of a new connection to an origin.",
    labels: { step: { values: UPSTREAM_STEPS } },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  upstreamOpen: {
    name: "sallyport_upstream_connections_open",
    type: "gauge",
    help: "Open connections to origins and parent proxies.",
    labels: {},
  },
  upstreamConnections: {
    name: "sallyport_upstream_connections_total",
    type: "counter",
    help: "Connections to origins that exchanges were given, newly opened or reused.",
    labels: { use: { values: UPSTREAM_USES } },
  },
  upstreamProtocols: {
    name: "sallyport_upstream_protocols_total",
    type: "counter",
    help: "Connections opened to origins, by the protocol agreed on.",
    labels: { protocol: { values: UPSTREAM_PROTOCOLS } },
  },
  handshakes: {
    name: "sallyport_handshakes_total",
    type: "counter",
    help: "TLS handshakes with sandboxes (downstream) and origins (upstream).",
    labels: { side: { values: SIDES }, outcome: { values: HANDSHAKE_OUTCOMES } },
  },
  leavesMinted: {
    name: "sallyport_leaves_minted_total",
    type: "counter",
    help: "Leaf certificates minted.",
    labels: {},
  },
  leafCacheHits: {
    name: "sallyport_leaf_cache_hits_total",
    type: "counter",
    help: "Leaf certificates taken from the cache.",
    labels: {},
  },
  leafCacheEntries: {
    name: "sallyport_leaf_cache_entries",
    type: "gauge",
    help: "Leaf certificates in the cache.",
    labels: {},
  },
  auditQueue: {
    name: "sallyport_audit_queue",
    type: "gauge",
    help: "Audit records that wait to be written.",
    labels: {},
  },
  auditBatches: {
    name: "sallyport_audit_batches_total",
    type: "counter",
    help: "Batches written to the audit log.",
    labels: {},
  },
  auditRecords: {
    name: "sallyport_audit_records_total",
    type: "counter",
    help: "Records written to the audit log.",
    labels: {},
  },
  auditFailures: {
    name: "sallyport_audit_failures_total",
    type: "counter",
    help: "Writes to the audit log that failed; while they fail, nothing is forwarded.",
    labels: {},
  },
  auditHealthy: {
    name: "sallyport_audit_healthy",
    type: "gauge",
    help: "1 while the audit log can be written, otherwise 0.",
    labels: {},
    merge: "min",
  },
  auditLost: {
    name: "sallyport_audit_lost_total",
    type: "counter",
    help: "Completion records given up while the audit log could not be written.",
    labels: {},
  },
  storeHealthy: {
    name: "sallyport_store_healthy",
    type: "gauge",
    help: "1 while the store answers, otherwise 0: what is known of sandboxes keeps serving, and nothing can be changed.",
    labels: {},
    merge: "min",
  },
  configReloads: {
    name: "sallyport_config_reloads_total",
    type: "counter",
    help: "Reloads of the configuration after the start.",
    labels: { outcome: { values: RELOAD_OUTCOMES } },
  },
  configLastReloadSuccess: {
    name: "sallyport_config_last_reload_success",
    type: "gauge",
    help: "1 where the configuration last read is the one in force, 0 where it was refused and the one before stays.",
    labels: {},
    merge: "min",
  },
  policyGeneration: {
    name: "sallyport_policy_generation",
    type: "gauge",
    help: "Generation of the policy snapshot in force; with workers, the oldest that any of them has.",
    labels: {},
    merge: "min",
  },
  faults: {
    name: "sallyport_faults_total",
    type: "counter",
    help: "Failures of the proxy or of upstream.",
    labels: { reason: { values: FAULT_REASONS, says: "a [reason](reasons.md) of the kind fault" } },
  },
  malformed: {
    name: "sallyport_malformed_total",
    type: "counter",
    help: "Input from sandboxes that could not be read in exactly one way.",
    labels: { reason: { values: MALFORMED_REASONS, says: "a [reason](reasons.md) of the kind malformed" } },
  },
  limits: {
    name: "sallyport_limits_total",
    type: "counter",
    help: "Times that a bound on time, size or number was met.",
    labels: { reason: { values: LIMIT_REASONS, says: "a [reason](reasons.md) of the kind limit" } },
  },
  logDropped: {
    name: "sallyport_log_lines_dropped_total",
    type: "counter",
    help: "Lines of the diagnostic log given up because its reader stalled.",
    labels: {},
  },
  workers: {
    name: "sallyport_workers",
    type: "gauge",
    help: "Worker processes; none where one process does everything.",
    labels: { state: { values: WORKER_STATES } },
  },
  workerEnds: {
    name: "sallyport_worker_ends_total",
    type: "counter",
    help: "Worker processes that ended: by themselves, because they did not take up a configuration, or because they were asked to.",
    labels: { cause: { values: WORKER_ENDS } },
  },
  workerScrapesMissed: {
    name: "sallyport_worker_scrapes_missed_total",
    type: "counter",
    help: "Times that a worker did not answer a scrape in time; what it counted before stands for it.",
    labels: {},
  },
  ...CONTROL_METRICS,
  buildInfo: {
    name: "sallyport_build_info",
    type: "gauge",
    help: "Always 1; the labels say what runs.",
    labels: {
      version: { values: undefined, says: "Sallyport's version" },
      node_version: { values: undefined, says: "Node's version" },
    },
    merge: "first",
    sparse: true,
  },
} as const satisfies Record<string, Definition>;

function ofKind(kind: ReasonKind): Reason[] {
  return ALL_REASONS.filter((reason) => REASONS[reason].kind === kind);
}
