// The composition root: the only place that constructs adapters and hands them to one another.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { startAdmin, type Admin, type ReloadState } from "./admin/server.ts";
import { type AuditLog, openAudit } from "./audit/log.ts";
import { formatDiagnostic, type Diagnostic } from "./config/diagnostic.ts";
import { Reloader, type Current, type ReloadCause, type ReloadOutcome } from "./config/reloader.ts";
import type { Config } from "./config/types.ts";
import { watchConfig, type Watch } from "./config/watch.ts";
import { createGuessLimiter } from "./identity/guess-limiter.ts";
import { createIdentifier } from "./identity/identify.ts";
import { listen, Occupancy, type Listener } from "./proxy/listener.ts";
import { Live } from "./proxy/live.ts";
import type { Parts, Published } from "./proxy/parts.ts";
import { openLogStream, type LogStream } from "./telemetry/log-stream.ts";
import { createLog, type Log } from "./telemetry/log.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { createLeafCache } from "./tls/leaf-cache.ts";
import { openTrustAnchor, type Issuer } from "./tls/trust-anchor.ts";
import type { Upstream } from "./upstream/engine.ts";
import { createOwnAddresses } from "./upstream/own-addresses.ts";
import { createUpstream } from "./upstream/pool.ts";
import { createResolver } from "./upstream/resolve.ts";
import { createTrust } from "./upstream/trust.ts";

export type StartOptions = {
  readonly configPath?: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the log goes; standard error by default. */
  readonly stream?: LogStream;
};

export type Sallyport = {
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  readonly admin: { readonly host: string; readonly port: number } | undefined;
  readonly config: Config;
  reload(cause: ReloadCause): Promise<ReloadOutcome>;
  /** Drains, then ends everything; resolves once it may be exited. */
  stop(): Promise<void>;
};

/** The configuration is not valid; nothing was started. */
export class ConfigurationError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join("\n"));
    this.name = "ConfigurationError";
    this.diagnostics = diagnostics;
  }
}

export async function startSallyport({ configPath, cwd, env, stream }: StartOptions): Promise<Sallyport> {
  const metrics = createMetrics({ version: version() });
  const live = new Live();
  const published = new Publisher(metrics, live);
  let files: readonly string[] = [];
  let watch: Watch | undefined;
  let log: Log | undefined;
  let audit: AuditLog | undefined;
  let lastReload: ReloadState | undefined;
  const reloader = new Reloader({
    load: { path: configPath, env, cwd },
    publish: (current) => published.publish(current),
    onFiles: (named) => {
      files = named;
      void watch?.update(named);
    },
    onOutcome: (outcome) => {
      lastReload = reloadState(outcome);
      metrics.configReload(outcome.ok ? "success" : "failure");
      if (log !== undefined) logReload(log, outcome);
      const { ok, cause, generation } = outcome;
      audit?.note("reload", { ok, cause, generation });
    },
  });
  const first = await reloader.reload("start");
  const config = reloader.current?.config;
  if (config === undefined) throw new ConfigurationError(first.diagnostics);

  log = createLog({
    level: config.log.level,
    format: config.log.format,
    stream: stream ?? openLogStream(2),
    paths: config.audit.privacy !== "zero-retention",
    env,
    onDrop: () => metrics.logDropped(1),
  });
  for (const diagnostic of first.diagnostics) log.warn(formatDiagnostic(diagnostic));
  const issuer = await openTrustAnchor(
    config.ca === undefined
      ? { directory: config.certs }
      : {
          certFile: config.ca.cert,
          keyFile: config.ca.key,
          ...(config.ca.chain !== undefined && { chainFile: config.ca.chain }),
        },
  );
  audit = await openAudit({ ...config.audit, on: auditEvents(metrics, log) });
  const current = (): Config => reloader.current?.config ?? config;
  const listeners: { address: string; port: number }[] = [];
  let own = createOwnAddresses({ listeners });
  const parts: Parts = {
    published: () => published.current,
    audit,
    guesses: createGuessLimiter(),
    leaves: leaves(issuer, config, metrics),
    metrics,
    log,
    get limits() {
      return current().limits;
    },
    now: Date.now,
    own: () => own(),
    pseudonym: `sallyport-${randomBytes(4).toString("hex")}`,
    trustAnchor: issuer.anchorPem,
    live,
  };
  const bound = (address: string, port: number): void => {
    listeners.push({ address, port });
    own = createOwnAddresses({ listeners });
  };

  // A rule's expiry is no event: what it allowed is judged again in time.
  const expiry = setInterval(() => live.rejudge(published.current), EXPIRY_MS).unref();
  const opened: { admin: Admin | undefined; proxy: Listener[] } = { admin: undefined, proxy: [] };
  const close = async (): Promise<void> => {
    await Promise.all(opened.proxy.map((listener) => listener.close()));
    clearInterval(expiry);
    published.current.upstream.close();
    try {
      await audit.close();
    } finally {
      await opened.admin?.close();
      watch?.close();
      await log.close();
    }
  };
  try {
    if (config.admin !== false) {
      opened.admin = await startAdmin({
        listen: config.admin,
        metrics,
        readiness: () => ({
          draining: live.draining,
          auditHealthy: audit.healthy,
          generation: published.current.generation,
          lastReload,
        }),
        onFault: (error) => log.error("the admin listener failed", { error: asError(error) }),
      });
      bound(opened.admin.address.host, opened.admin.address.port);
    }
    const occupancy = new Occupancy();
    for (const endpoint of config.listen) {
      const listener = await listen(parts, { ...endpoint, occupancy });
      bound(listener.address, listener.port);
      opened.proxy.push(listener);
    }
    watch = await watchConfig({
      files,
      onChange: () => void reloader.reload("file"),
      onFault: (directory, cause) =>
        log.warn("cannot watch the configuration", { directory, error: asError(cause) }),
    });
  } catch (error) {
    await close();
    throw error;
  }
  audit.note("start", { version: version(), generation: published.current.generation });
  announce(log, opened);
  return {
    listen: opened.proxy.map(({ address, port }) => ({ address, port })),
    admin: opened.admin?.address,
    config,
    reload: (cause) => reloader.reload(cause),
    async stop() {
      const { drainMs } = current().limits;
      log.info("draining", { connections: live.connections, seconds: drainMs / 1000 });
      // Whoever connects meanwhile is told so, rather than met by a closed port.
      await live.drain(drainMs);
      await Promise.all(opened.proxy.map((listener) => listener.close()));
      audit.note("stop", { generation: published.current.generation });
      log.info("stopped");
      await close();
    },
  };
}

/** Holds what a reload replaces, and replaces it at once. */
class Publisher {
  readonly #metrics: Metrics;
  readonly #live: Live;
  #current: Published | undefined;
  #made: { readonly from: string; readonly upstream: Upstream } | undefined;

  constructor(metrics: Metrics, live: Live) {
    this.#metrics = metrics;
    this.#live = live;
  }

  get current(): Published {
    if (this.#current === undefined) throw new Error("nothing is published yet");
    return this.#current;
  }

  publish({ generation, config, snapshot }: Current): void {
    const { sandboxes, anonymous } = config;
    const identifier = createIdentifier({ sandboxes, anonymous });
    const upstream = this.#upstreamFor(config);
    this.#current = { snapshot, generation, identifier, upstream };
    this.#metrics.policyGeneration(generation);
    this.#live.rejudge(this.#current);
  }

  /** Connections stay pooled across reloads that do not concern them. */
  #upstreamFor({ upstream, limits }: Config): Upstream {
    const from = JSON.stringify([upstream, [...upstream.hosts], limits]);
    if (this.#made?.from === from) return this.#made.upstream;
    const made = createUpstream({
      resolver: createResolver({
        hosts: Object.fromEntries(upstream.hosts),
        ...(upstream.resolvers !== undefined && { servers: upstream.resolvers }),
        timeoutMs: limits.dnsMs,
      }),
      trust: createTrust({
        trust: upstream.trust.map((source) => (source.kind === "file" ? source.path : source.kind)),
        crlFiles: upstream.crls,
      }),
      limits,
      on: upstreamEvents(this.#metrics),
    });
    this.#made?.upstream.close();
    this.#made = { from, upstream: made };
    return made;
  }
}

function upstreamEvents(metrics: Metrics) {
  return {
    opened: () => metrics.upstreamOpen(),
    reused: () => metrics.upstreamReuse(),
    closed: () => metrics.upstreamClose(),
    took: (step: "dns" | "dial" | "tls", ms: number) => metrics.upstreamDuration(step, ms),
    handshake: (outcome: "full" | "resumed" | "failed") => metrics.handshake("upstream", outcome),
  };
}

function auditEvents(metrics: Metrics, log: Log) {
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

function leaves(issuer: Issuer, { limits }: Config, metrics: Metrics): Parts["leaves"] {
  const cache = createLeafCache({
    issuer,
    max: limits.leaves,
    mintsPerSecond: limits.mintsPerSecond,
    mintBurst: limits.mintBurst,
    now: Date.now,
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

function reloadState({ ok, diagnostics }: ReloadOutcome): ReloadState {
  const at = Date.now();
  if (ok) return { ok, at };
  return { ok, at, errors: diagnostics.map(formatDiagnostic) };
}

function logReload(log: Log, { ok, cause, generation, diagnostics }: ReloadOutcome): void {
  if (ok) log.info("configuration reloaded", { cause, generation });
  else log.error("configuration is not valid; the one before stays in force", { cause, generation });
  for (const diagnostic of diagnostics) log.warn(formatDiagnostic(diagnostic));
}

function announce(
  log: Log,
  { admin, proxy }: { admin: Admin | undefined; proxy: readonly Listener[] },
): void {
  for (const { address, port } of proxy) log.info("listening", { address, port });
  if (admin !== undefined)
    log.info("admin listening", { address: admin.address.host, port: admin.address.port });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
}

const EXPIRY_MS = 1000;
