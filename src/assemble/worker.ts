// A worker's composition: the listeners and the data path, under settings that the primary judged. It has neither the issuer
// key nor the operator's file, and does not outlive its primary.

import { type AuditLog, openAudit } from "../audit/log.ts";
import type { Link, Told } from "../cluster/link.ts";
import type { DrainHow, Settings, StartFailure, WorkerStart } from "../cluster/messages.ts";
import { RemoteApprovals } from "../cluster/remote-approvals.ts";
import { RemoteBudgets } from "../cluster/remote-budgets.ts";
import { doctorScript } from "../environment/doctor.ts";
import { createGuessLimiter, type GuessLimiter } from "../identity/guess-limiter.ts";
import type { Host } from "../net/host.ts";
import { Live } from "../proxy/live.ts";
import type { Parts } from "../proxy/parts.ts";
import type { Purses } from "../proxy/purses.ts";
import { openLogStream } from "../telemetry/log-stream.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import type { ProxyLeaf } from "../tls/proxy-tls.ts";
import { createRemoteLeafCache } from "../tls/remote-leaf-cache.ts";
import { expiryWatch } from "./expiry.ts";
import { addressesOf, allOf, type Listeners, NO_LISTENERS, openListeners } from "./listeners.ts";
import { OwnAddresses } from "./own-addresses.ts";
import { Publisher } from "./publisher.ts";
import { pursesOf } from "./purses.ts";
import { asError, auditEvents } from "./reports.ts";
import { currentOf } from "./settings.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Resolves once the worker was asked to end, or its primary is gone, and everything is closed. */
export async function runWorker(link: Link, env: Environment): Promise<void> {
  const start = await Promise.race([link.start, link.lost]);
  if (start === undefined) return;
  let worker: WorkerParts | undefined;
  try {
    worker = await compose(start, link, env);
    await worker.serve();
  } catch (error) {
    await link.send({ type: "failed", failure: failureOf(error) });
    await worker?.close();
    throw error;
  }
  const { promise: told, resolve: tell } = Promise.withResolvers<DrainHow>();
  link.listen((message) => worker.take(message, tell));
  const how = await Promise.race([told, link.lost.then(() => "lost" as const)]);
  await worker.end(how);
}

async function compose(start: WorkerStart, link: Link, env: Environment): Promise<WorkerParts> {
  const { settings, slot, version } = start;
  const { config } = settings;
  const metrics = createMetrics({ version });
  const live = new Live();
  const own = new OwnAddresses(start.admin === undefined ? [] : [start.admin]);
  const leafFor = async (name: Host): Promise<ProxyLeaf> => {
    const { chainPem, until } = await link.askLeaf(name, "");
    return { chainPem, keyPem: start.leafKeyPem, until };
  };
  const published = new Publisher({
    metrics,
    live,
    own: () => own.current,
    leafFor,
    ticketKeys: start.ticketKeys,
  });
  published.publish(currentOf(settings), settings.materials);
  published.takeRoster(start.roster);
  const log = createLog({
    level: config.log.level,
    format: config.log.format,
    stream: openLogStream(2),
    paths: config.audit.privacy !== "zero-retention",
    env,
    onDrop: () => metrics.logDropped(1),
    worker: slot,
  });
  const audit = await openAudit({
    ...config.audit,
    directory: start.auditDirectory,
    keyFile: start.auditKeyFile,
    on: auditEvents(metrics, log),
  });
  return new WorkerParts(start, { link, metrics, live, own, published, log, audit });
}

type Made = {
  readonly link: Link;
  readonly metrics: Metrics;
  readonly live: Live;
  readonly own: OwnAddresses;
  readonly published: Publisher;
  readonly log: Log;
  readonly audit: AuditLog;
};

class WorkerParts {
  readonly #start: WorkerStart;
  readonly #made: Made;
  readonly #guesses: GuessLimiter = createGuessLimiter();
  readonly #approvals: RemoteApprovals;
  readonly #budgets: RemoteBudgets;
  readonly #purses: Purses;
  #settings: Settings;
  #listeners: Listeners = NO_LISTENERS;
  #alive: NodeJS.Timeout | undefined;

  constructor(start: WorkerStart, made: Made) {
    this.#start = start;
    this.#made = made;
    this.#approvals = new RemoteApprovals((message) => void made.link.send(message));
    this.#budgets = new RemoteBudgets((message) => void made.link.send(message));
    this.#purses = pursesOf(this.#budgets, made.metrics);
    this.#settings = start.settings;
  }

  async serve(): Promise<void> {
    const { link, live, own, published, audit } = this.#made;
    const { slot, settings, version } = this.#start;
    this.#listeners = await openListeners(this.#parts(), {
      config: currentOf(settings).config,
      prefix: `${slot}-`,
      bound: own.add,
    });
    const judgeExpired = expiryWatch(live, () => published.current);
    this.#alive = setInterval(() => {
      void link.send({ type: "alive", auditHealthy: audit.healthy });
      judgeExpired();
    }, ALIVE_MS);
    const { generation } = settings;
    audit.note("start", { version, generation, worker: slot });
    void link.send({ type: "listening", listeners: addressesOf(this.#listeners), generation });
  }

  take(message: Told, drain: (how: DrainHow) => void): void {
    const { link, metrics, published } = this.#made;
    switch (message.type) {
      case "publish":
        return this.#publish(message.settings);
      case "answer":
        return this.#approvals.take(message);
      case "drawn":
        return this.#budgets.take(message);
      case "roster":
        published.takeRoster(message.update);
        return void link.send({ type: "rostered", id: message.id });
      case "scrape":
        void metrics
          .collected()
          .then((collected) => link.send({ type: "metrics", id: message.id, metrics: collected }));
        return;
      case "guess":
        return this.#guesses.failure(message.guess.source, message.guess.at);
      case "drain":
        return drain(message.how);
    }
  }

  async end(how: DrainHow | "lost"): Promise<void> {
    const { link, live, metrics, published, log, audit } = this.#made;
    const { drainMs } = this.#settings.config.limits;
    if (how === "lost") log.error("the primary is gone, so this worker ends");
    if (how === "leave") {
      // What is queued is for the others to take.
      for (const listener of allOf(this.#listeners)) listener.retire();
      await live.retire(RETIRE_MS);
    }
    // At a stop whoever connects meanwhile is told so, rather than met by a closed port.
    await live.drain(how === "lost" ? 0 : drainMs);
    audit.note("stop", { generation: published.current.generation, worker: this.#start.slot });
    if (how !== "lost") await this.#purses.close();
    await this.close();
    await link.send({ type: "drained", metrics: await metrics.collected() });
  }

  async close(): Promise<void> {
    const { published, log, audit } = this.#made;
    await Promise.all(allOf(this.#listeners).map((listener) => listener.close()));
    clearInterval(this.#alive);
    published.current.upstream.close();
    try {
      await audit.close();
    } finally {
      await log.close();
    }
  }

  #publish(settings: Settings): void {
    const { link, published, log } = this.#made;
    const { generation } = settings;
    let fault: Error | undefined;
    try {
      published.publish(currentOf(settings), settings.materials);
      this.#settings = settings;
    } catch (error) {
      // Answered so, this worker is replaced.
      fault = asError(error);
      log.error("a worker cannot take up the configuration", { generation, error: fault });
    }
    void link.send({ type: "published", generation, error: fault?.message });
  }

  #parts(): Parts {
    const { live, own, published, metrics, log, audit } = this.#made;
    const { pseudonym, anchorPem } = this.#start;
    const settings = (): Settings => this.#settings;
    return {
      published: () => published.current,
      audit,
      guesses: this.#sharedGuesses(),
      approvals: this.#approvals,
      leaves: this.#leaves(),
      purses: this.#purses,
      metrics,
      log,
      get limits() {
        return settings().config.limits;
      },
      get http2() {
        return settings().config.http2;
      },
      get balancers() {
        return settings().config.proxyProtocol;
      },
      now: Date.now,
      own: () => own.current,
      pseudonym,
      pages: { trustAnchor: anchorPem, doctor: doctorScript() },
      live,
    };
  }

  #sharedGuesses(): GuessLimiter {
    const guesses = this.#guesses;
    return {
      waitMs: (source, at) => guesses.waitMs(source, at),
      failure: (source, at) => {
        guesses.failure(source, at);
        void this.#made.link.send({ type: "guess", guess: { source, at } });
      },
    };
  }

  #leaves(): Parts["leaves"] {
    const { link, metrics, published } = this.#made;
    return createRemoteLeafCache({
      keyPem: this.#start.leafKeyPem,
      ticketKeys: () => published.ticketKeys,
      max: this.#start.settings.config.limits.leaves,
      now: Date.now,
      ask: (host, asker) => link.askLeaf(host, asker),
      on: { hit: () => metrics.leafCacheHit(), entries: (held) => metrics.leafCacheEntries(held) },
    });
  }
}

function failureOf(error: unknown): StartFailure {
  const { message } = asError(error);
  const { code, address, port } = Object(error) as Partial<Record<string, unknown>>;
  return {
    message,
    code: typeof code === "string" ? code : undefined,
    address: typeof address === "string" ? address : undefined,
    port: typeof port === "number" ? port : undefined,
  };
}

const ALIVE_MS = 1_000;
/** For each connection's next answer to say that it ends. */
const RETIRE_MS = 1_000;
