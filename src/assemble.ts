// The composition root: the only place that constructs adapters and hands them to one another.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Admin } from "./admin/server.ts";
import { openAdmin } from "./assemble/admin.ts";
import type { Held } from "./assemble/above.ts";
import { type ControlPart, declaredOf, openControl } from "./assemble/control.ts";
import { expiryWatch } from "./assemble/expiry.ts";
import { Handover } from "./assemble/handover.ts";
import { addressesOf, allOf, type Listeners, NO_LISTENERS, openListeners } from "./assemble/listeners.ts";
import { OwnAddresses } from "./assemble/own-addresses.ts";
import { proxyLeaf } from "./assemble/proxy-leaf.ts";
import { Publisher } from "./assemble/publisher.ts";
import { pursesOf } from "./assemble/purses.ts";
import { Reloads } from "./assemble/reloads.ts";
import { announce, auditEvents } from "./assemble/reports.ts";
import { workerCount } from "./assemble/settings.ts";
import { type AuditLog, openAudit } from "./audit/log.ts";
import { formatDiagnostic } from "./config/diagnostic.ts";
import type { LoadOptions } from "./config/load.ts";
import type { ReloadCause, ReloadOutcome } from "./config/reloader.ts";
import type { Config } from "./config/types.ts";
import { doctorScript } from "./environment/doctor.ts";
import { createGuessLimiter } from "./identity/guess-limiter.ts";
import type { RosterUpdate } from "./identity/roster.ts";
import type { Declared } from "./registry/declared.ts";
import { Live } from "./proxy/live.ts";
import type { Parts } from "./proxy/parts.ts";
import { openLogStream, type LogStream } from "./telemetry/log-stream.ts";
import { createLog, type Log } from "./telemetry/log.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { createLeafCache } from "./tls/leaf-cache.ts";
import { TICKET_KEYS_OCTETS } from "./tls/ticket-keys.ts";
import { openTrustAnchor, type Issuer } from "./tls/trust-anchor.ts";

export type StartOptions = {
  readonly configPath?: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the operator's file says, made to fit where it runs; it then holds to the end, whatever becomes of the file. */
  readonly adapt?: (config: Config) => Config;
  /** Other than the system's own only in tests. */
  readonly requirements?: LoadOptions["requirements"];
  /** Where the log goes; standard error by default. */
  readonly stream?: LogStream | undefined;
};

export type Sallyport = {
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  /** In the order of the configuration. */
  readonly transparent: readonly { readonly address: string; readonly port: number }[];
  readonly dns: readonly { readonly address: string; readonly port: number }[];
  readonly admin: { readonly host: string; readonly port: number } | undefined;
  readonly config: Config;
  /** What can be done to sandboxes while it runs. */
  readonly control: ControlPart["control"];
  /** Rejects once it can't serve any more; absent where that ends the process. */
  readonly broken?: Promise<never>;
  reload(cause: ReloadCause): Promise<ReloadOutcome>;
  /** Restarts the workers, one by one. */
  roll(): Promise<void>;
  /** Drains, then ends everything; resolves once it may be exited. */
  stop(): Promise<void>;
};

export async function startSallyport({
  configPath,
  cwd,
  env,
  adapt,
  requirements,
  stream,
}: StartOptions): Promise<Sallyport> {
  const metrics = createMetrics({ version: version() });
  const live = new Live();
  const own = new OwnAddresses();
  let issuer: Issuer | undefined;
  const published = new Publisher({
    metrics,
    live,
    own: () => own.current,
    leafFor: (name) => proxyLeaf(issuer, name),
    ticketKeys: randomBytes(TICKET_KEYS_OCTETS),
  });
  const handover = new Handover(metrics);
  let count: number | undefined;
  let declared: Declared = { sandboxes: [], policies: [] };
  let held: Held = { policies: [], requirements: [] };
  let control: ControlPart | undefined;
  const takeRoster = (update: RosterUpdate): void | Promise<void> =>
    count !== undefined && count > 1 ? handover.takeRoster(update) : published.takeRoster(update);
  const load: LoadOptions = { path: configPath, env, cwd, requirements, commands: true };
  const reloads = new Reloads({
    load,
    adapt,
    metrics,
    publish: async (current) => {
      count ??= workerCount(current.config);
      declared = declaredOf(current.config, current.policies);
      if (count > 1) await handover.publish(current, count);
      else published.publish(current);
      held = current;
      // What the file declares stands above what was said of it before.
      if (control !== undefined) await takeRoster(control.registry.renewed());
    },
  });
  const { config, warnings } = await reloads.first();

  const log = openLog(config, { stream, env, metrics });
  for (const warning of warnings) log.warn(formatDiagnostic(warning));
  issuer = await openTrustAnchor(anchorFiles(config));
  const audit = await openAudit({ ...config.audit, on: auditEvents(metrics, log) });
  reloads.reportTo({ log, audit });
  control = await openControl({
    config,
    audit,
    log,
    metrics,
    current: () => reloads.config ?? config,
    load,
    reload: (cause) => reloads.reload(cause),
    declared: () => declared,
    held: () => held,
    publish: takeRoster,
  });
  if (count !== undefined && count > 1) {
    const { startPrimary } = await import("./assemble/primary.ts");
    const made = { config, count, reloads, handover, metrics, log, audit, issuer, control };
    return startPrimary({ ...made, version: version() });
  }
  return startAlone({ config, reloads, published, metrics, log, audit, own, live, issuer, control });
}

type Alone = Omit<Running, "parts"> & { readonly live: Live };

/** One process that does everything. */
async function startAlone({ live, ...made }: Alone): Promise<Sallyport> {
  const { config, reloads, published, metrics, log, audit, own, issuer } = made;
  const parts: Parts = {
    published: () => published.current,
    audit,
    guesses: createGuessLimiter(),
    approvals: made.control.approvals,
    leaves: leaves(made, metrics),
    purses: pursesOf(made.control.bank, metrics),
    metrics,
    log,
    get limits() {
      return (reloads.config ?? config).limits;
    },
    get http2() {
      return (reloads.config ?? config).http2;
    },
    now: Date.now,
    own: () => own.current,
    pseudonym: `sallyport-${randomBytes(4).toString("hex")}`,
    pages: { trustAnchor: issuer.anchorPem, doctor: doctorScript() },
    live,
    get balancers() {
      return (reloads.config ?? config).proxyProtocol;
    },
  };
  const running: Running = { ...made, parts };
  const opened = await open(running);
  audit.note("start", { version: version(), generation: published.current.generation });
  const listeners = addressesOf(opened.listeners);
  announce(log, listeners, opened.admin?.address);
  return {
    listen: listeners.proxy,
    transparent: listeners.transparent,
    dns: listeners.dns,
    admin: opened.admin?.address,
    config,
    control: made.control.control,
    reload: (cause) => reloads.reload(cause),
    roll: async () => log.warn("there are no workers to restart; see `workers` in the configuration"),
    stop: () => stop(running, opened),
  };
}

type Running = {
  /** As it was at the start: what listens, and where things are kept, does not change. */
  readonly config: Config;
  readonly reloads: Reloads;
  readonly published: Publisher;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: AuditLog;
  readonly own: OwnAddresses;
  readonly control: ControlPart;
  readonly issuer: Issuer;
  readonly parts: Parts;
};

type Opened = { admin: Admin | undefined; listeners: Listeners; readonly expiry: NodeJS.Timeout };

/** Opens every listener, or none. */
async function open(running: Running): Promise<Opened> {
  const { config, reloads, published, metrics, log, audit, parts, own } = running;
  const expiry = setInterval(
    expiryWatch(parts.live, () => published.current),
    EXPIRY_MS,
  ).unref();
  const opened: Opened = { admin: undefined, listeners: NO_LISTENERS, expiry };
  try {
    opened.admin = await openAdmin({
      ...running,
      exposition: () => metrics.exposition(),
      readiness: () => ({
        draining: parts.live.draining,
        auditHealthy: audit.healthy,
        storeHealthy: running.control.control.healthy(),
        generation: published.current.generation,
        lastReload: reloads.last,
      }),
      version: version(),
      listening: () => addressesOf(opened.listeners).proxy,
    });
    if (opened.admin !== undefined) own.add(opened.admin.address.host, opened.admin.address.port);
    opened.listeners = await openListeners(parts, { config, bound: own.add });
    await reloads.watch(log);
    return opened;
  } catch (error) {
    await close(running, opened);
    throw error;
  }
}

async function stop(running: Running, opened: Opened): Promise<void> {
  const { published, log, audit, parts } = running;
  const { drainMs } = parts.limits;
  log.info("draining", { connections: parts.live.connections, seconds: drainMs / 1000 });
  // Whoever connects meanwhile is told so, rather than met by a closed port.
  await parts.live.drain(drainMs);
  await Promise.all(allOf(opened.listeners).map((listener) => listener.close()));
  audit.note("stop", { generation: published.current.generation });
  log.info("stopped");
  await close(running, opened);
}

async function close(running: Running, opened: Opened): Promise<void> {
  const { reloads, published, log, audit, control, parts } = running;
  await Promise.all(allOf(opened.listeners).map((listener) => listener.close()));
  await parts.purses.close();
  clearInterval(opened.expiry);
  published.current.upstream.close();
  await control.close();
  try {
    await audit.close();
  } finally {
    await opened.admin?.close();
    reloads.close();
    await log.close();
  }
}

function anchorFiles({ ca, certs }: Config): Parameters<typeof openTrustAnchor>[0] {
  if (ca === undefined) return { directory: certs };
  return { certFile: ca.cert, keyFile: ca.key, ...(ca.chain !== undefined && { chainFile: ca.chain }) };
}

function openLog(
  { log: { level, format }, audit }: Config,
  { stream, env, metrics }: Pick<StartOptions, "stream" | "env"> & { readonly metrics: Metrics },
): Log {
  const paths = audit.privacy !== "zero-retention";
  const onDrop = (): void => metrics.logDropped(1);
  return createLog({ level, format, stream: stream ?? openLogStream(2), paths, env, onDrop });
}

function leaves(
  { issuer, published, config: { limits } }: Pick<Running, "issuer" | "published" | "config">,
  metrics: Metrics,
): Parts["leaves"] {
  const cache = createLeafCache({
    issuer,
    max: limits.leaves,
    mintsPerSecond: limits.mintsPerSecond,
    mintBurst: limits.mintBurst,
    now: Date.now,
    ticketKeys: () => published.ticketKeys,
    on: {
      minted: () => {
        metrics.leafMint();
        metrics.leafCacheEntries(cache.size());
      },
      hit: () => metrics.leafCacheHit(),
    },
  });
  return cache;
}

function version(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

const EXPIRY_MS = 1000;
