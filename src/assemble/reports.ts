// What happens in the parts, told to the metrics and the log.

import { formatDiagnostic } from "../config/diagnostic.ts";
import type { ReloadOutcome } from "../config/reloader.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Listeners } from "./listeners.ts";

export function announce(
  log: Log,
  { proxy, transparent, dns, sockets }: Listeners<{ address: string; port: number }>,
  admin: { readonly host: string; readonly port: number } | undefined,
): void {
  for (const { address, port } of proxy) log.info("listening", { address, port });
  for (const { address: socket } of sockets) log.info("listening", { socket });
  for (const { address, port } of transparent) log.info("transparent listening", { address, port });
  for (const { address, port } of dns) log.info("dns listening", { address, port });
  if (admin !== undefined) log.info("admin listening", { address: admin.host, port: admin.port });
}

export function auditEvents(metrics: Metrics, log: Log) {
  return {
    batch: (records: number) => metrics.auditBatch(records),
    queue: (depth: number) => metrics.auditQueue(depth),
    failure: (error: unknown) => {
      metrics.auditFailure();
      metrics.auditHealthy(false);
      log.error("the audit log cannot be written; nothing is forwarded", { error: asError(error) });
    },
    recovered: () => {
      metrics.auditHealthy(true);
      log.warn("the audit log can be written again");
    },
    lost: (records: number) => metrics.auditLost(records),
  };
}

export function logReload(log: Log, { ok, cause, generation, diagnostics }: ReloadOutcome): void {
  if (ok) log.info("configuration reloaded", { cause, generation });
  else log.error("configuration is not valid; the one before stays in force", { cause, generation });
  for (const diagnostic of diagnostics) log.warn(formatDiagnostic(diagnostic));
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
