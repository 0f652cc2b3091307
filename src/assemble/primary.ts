// The primary's composition: it owns the configuration, the issuer key, the admin listener and the workers, and takes no
// sandbox's connection itself.

import { randomBytes } from "node:crypto";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Admin, Readiness } from "../admin/server.ts";
import type { Sallyport } from "../assemble.ts";
import { workerChain } from "../audit/chains.ts";
import { KEY_FILE } from "../audit/files.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Address, LeafAnswer, ToPrimary, WorkerStart } from "../cluster/messages.ts";
import { Workers } from "../cluster/workers.ts";
import type { Config } from "../config/types.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Log } from "../telemetry/log.ts";
import { mergeMetrics, retireMetrics } from "../telemetry/merge.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createMinter, type Minter } from "../tls/minter.ts";
import { TICKET_KEYS_OCTETS } from "../tls/ticket-keys.ts";
import type { Issuer } from "../tls/trust-anchor.ts";
import { openAdmin } from "./admin.ts";
import type { ControlPart } from "./control.ts";
import type { Handover } from "./handover.ts";
import { removeLeft } from "./listeners.ts";
import type { Reloads } from "./reloads.ts";
import { announce, asError } from "./reports.ts";

export type PrimaryOptions = {
  readonly config: Config;
  readonly count: number;
  readonly reloads: Reloads;
  readonly handover: Handover;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: AuditLog;
  readonly issuer: Issuer;
  readonly control: ControlPart;
  readonly version: string;
};

export async function startPrimary(options: PrimaryOptions): Promise<Sallyport> {
  const { config, reloads, handover, log, audit, version } = options;
  const opened: Opened = { admin: undefined, workers: undefined, listeners: [], draining: false };
  try {
    opened.admin = await openAdmin({
      ...options,
      exposition: () => exposition(options, opened),
      readiness: () => readiness(options, opened),
      listening: () => opened.listeners,
    });
    await removeLeft(config);
    const workers = createWorkers(options, opened.admin?.address);
    handover.to(workers);
    const listeners = await workers.start();
    opened.workers = workers;
    opened.listeners = listeners.proxy;
    await reloads.watch(log);
    const { generation } = handover.settings;
    audit.note("start", { version, generation, workers: options.count });
    announce(log, listeners, opened.admin?.address);
    const broken = workers.broken.catch(async (error: unknown): Promise<never> => {
      await stop(options, opened);
      throw error;
    });
    broken.catch(() => {});
    return {
      listen: listeners.proxy,
      transparent: listeners.transparent,
      dns: listeners.dns,
      admin: opened.admin?.address,
      config,
      control: options.control.control,
      broken,
      reload: (cause) => reloads.reload(cause),
      roll: () => roll(options, workers),
      stop: () => stop(options, opened),
    };
  } catch (error) {
    await close(options, opened);
    throw error;
  }
}

type Opened = {
  admin: Admin | undefined;
  workers: Workers | undefined;
  /** Where sandboxes connect. */
  listeners: Sallyport["listen"];
  draining: boolean;
};

async function roll({ config, reloads, log }: PrimaryOptions, workers: Workers): Promise<void> {
  log.info("restarting the workers, one by one");
  await workers.roll((reloads.config ?? config).limits.drainMs);
  log.info("the workers are restarted");
}

async function stop(options: PrimaryOptions, opened: Opened): Promise<void> {
  const { config, reloads, handover, log, audit } = options;
  const { drainMs } = (reloads.config ?? config).limits;
  opened.draining = true;
  log.info("draining", { seconds: drainMs / 1000 });
  await opened.workers?.stop(drainMs);
  audit.note("stop", { generation: handover.settings.generation });
  log.info("stopped");
  await close(options, opened);
}

async function close({ reloads, log, audit, control }: PrimaryOptions, { admin }: Opened): Promise<void> {
  reloads.close();
  await control.close();
  try {
    await audit.close();
  } finally {
    await admin?.close();
    await log.close();
  }
}

async function exposition({ metrics }: PrimaryOptions, { workers }: Opened): Promise<string> {
  // First, so that what was missed stands in this very answer.
  const counted = (await workers?.gather()) ?? [];
  if (workers !== undefined) metrics.workers(workers.states);
  return mergeMetrics([await metrics.collected(), ...counted]);
}

function readiness(
  { count, handover, audit, reloads, control }: PrimaryOptions,
  { workers, draining }: Opened,
): Readiness {
  return {
    draining,
    auditHealthy: audit.healthy,
    storeHealthy: control.control.healthy(),
    generation: handover.settings.generation,
    lastReload: reloads.last,
    workers: { configured: count, ready: workers?.states.ready ?? 0 },
  };
}

function createWorkers(options: PrimaryOptions, admin: Admin["address"] | undefined): Workers {
  const { config, count, handover, metrics, log, audit, issuer, control, version } = options;
  const { limits } = config;
  const minter = createMinter({
    issuer,
    max: limits.leaves,
    mintsPerSecond: limits.mintsPerSecond,
    mintBurst: limits.mintBurst,
    now: Date.now,
    onMinted: () => metrics.leafMint(),
  });
  const shared: Omit<WorkerStart, "slot" | "settings" | "roster" | "auditDirectory"> = {
    auditKeyFile: join(config.audit.directory, KEY_FILE),
    // Not the issuer's: that one never leaves this process (invariant 7).
    leafKeyPem: issuer.leafKey.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    anchorPem: issuer.anchorPem,
    ticketKeys: randomBytes(TICKET_KEYS_OCTETS),
    pseudonym: `sallyport-${randomBytes(4).toString("hex")}`,
    admin: admin && addressOf(admin),
    version,
  };
  return new Workers({
    count,
    // From source or from a build, as this is.
    exec: fileURLToPath(new URL(`../cli/worker${extname(import.meta.filename)}`, import.meta.url)),
    // Each would claim a port of its own.
    // A worker has a core, and one thread of V8's besides is all the help that it needs: four take 2 MiB more.
    execArgv: [
      ...process.execArgv.filter((argument) => !argument.startsWith("--inspect")),
      "--v8-pool-size=1",
    ],
    settings: handover.settings,
    startOf: (slot, settings) => ({
      ...shared,
      slot,
      settings,
      roster: control.registry.roster(),
      auditDirectory: join(config.audit.directory, workerChain(slot)),
    }),
    approvals: control.approvals,
    bank: control.bank,
    mint: (question) => mint(minter, question, log),
    on: {
      started: ({ slot, pid = 0 }) => {
        audit.note("worker", { event: "started", worker: slot, pid });
        log.info("a worker serves", { slot, pid });
      },
      ended: ({ slot, pid = 0, cause, how, restartMs }) => {
        metrics.workerEnd(cause);
        audit.note("worker", { event: "ended", worker: slot, pid, cause, how });
        if (cause === "asked") log.info("a worker has ended", { slot, pid });
        else log.error("a worker ended", { slot, pid, cause, how, restartMs });
      },
      scrapeMissed: () => metrics.workerScrapeMissed(),
      rollFailed: (error) =>
        log.error("a worker that was to replace another did not start; the others stay", {
          error: asError(error),
        }),
    },
    retire: retireMetrics,
  });
}

function mint(minter: Minter, { host, asker }: Extract<ToPrimary, { type: "leaf" }>, log: Log): LeafAnswer {
  try {
    return { ok: true, leaf: minter.leafFor(host, asker) };
  } catch (cause) {
    if (cause instanceof ProxyFault) return { ok: false, reason: cause.reason };
    log.error("a leaf could not be minted", { error: asError(cause) });
    return { ok: false, reason: "internal-error" };
  }
}

function addressOf({ host, port }: Admin["address"]): Address {
  return { address: host, port };
}
