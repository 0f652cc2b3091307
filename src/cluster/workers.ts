// Keeps so many workers running: starts them, replaces those that end, brings a new generation to all, restarts them one by
// one, and stops them. A worker that does not take up a generation does not stay (invariant 10).

import cluster from "node:cluster";
import type { RosterUpdate } from "../identity/roster.ts";
import type { Approvals } from "../registry/asking.ts";
import type { Bank } from "../registry/budgeting.ts";
import type { CollectedMetrics } from "../telemetry/merge.ts";
import type { WorkerEnd, WorkerState } from "../telemetry/table.ts";
import { Backoff } from "./backoff.ts";
import type { Addresses, LeafAnswer, Settings, ToPrimary, WorkerStart } from "./messages.ts";
import { WorkerProcess } from "./worker-process.ts";

export type WorkersOptions = {
  readonly count: number;
  /** The worker's program. */
  readonly exec: string;
  readonly execArgv: readonly string[];
  readonly settings: Settings;
  readonly startOf: (slot: number, settings: Settings) => WorkerStart;
  readonly mint: (question: Extract<ToPrimary, { type: "leaf" }>) => LeafAnswer;
  /** Whom sandboxes' requests are put to. */
  readonly approvals: Approvals;
  /** Whom budgets are drawn from. */
  readonly bank: Bank;
  readonly on: {
    readonly started: (worker: { slot: number; pid: number | undefined }) => void;
    readonly ended: (worker: {
      slot: number;
      pid: number | undefined;
      cause: WorkerEnd;
      how: string;
      /** Until it is replaced; `undefined` where it is not. */
      restartMs: number | undefined;
    }) => void;
    readonly scrapeMissed: () => void;
    readonly rollFailed: (error: unknown) => void;
  };
  /** Adds what an ended worker counted to what others did before. */
  readonly retire: (
    before: CollectedMetrics | undefined,
    ended: CollectedMetrics,
  ) => Promise<CollectedMetrics>;
};

export class Workers {
  readonly #options: WorkersOptions;
  readonly #backoff: Backoff;
  readonly #running = new Set<WorkerProcess>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  readonly #broken = Promise.withResolvers<never>();
  #settings: Settings;
  #retired: Promise<CollectedMetrics | undefined> = Promise.resolve(undefined);
  #rolling = false;
  #stopping = false;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#backoff = new Backoff(options.count);
    this.#broken.promise.catch(() => {});
    // The listening sockets stay here, so that what is queued in them survives any worker: docs/decisions/0015.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({
      exec: options.exec,
      args: [],
      execArgv: [...options.execArgv],
      serialization: "advanced",
    });
  }

  /** Rejects once no worker can be kept running. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** Starts them all, or none; where they listen. */
  async start(): Promise<Addresses> {
    const started = Array.from({ length: this.#options.count }, () => this.#spawn());
    try {
      const [first = NOWHERE] = await Promise.all(started.map(({ ready }) => ready));
      return first;
    } catch (error) {
      this.#stopping = true;
      for (const worker of this.#running) worker.kill();
      await Promise.all([...this.#running].map(({ ended }) => ended));
      throw error;
    }
  }

  /** Resolves once no worker serves another generation. */
  async publish(settings: Settings): Promise<void> {
    this.#settings = settings;
    await Promise.all(
      [...this.#running].map(async (worker) => {
        if (await worker.publish(settings)) return;
        worker.kill();
        await worker.ended;
      }),
    );
  }

  /** Resolves once no worker goes by another roster. */
  async takeRoster(update: RosterUpdate): Promise<void> {
    await Promise.all(
      [...this.#running].map(async (worker) => {
        if (await worker.takeRoster(update)) return;
        worker.kill();
        await worker.ended;
      }),
    );
  }

  /** Replaces each by a new one, which listens before the old one drains. */
  async roll(drainMs: number): Promise<void> {
    if (this.#rolling || this.#stopping) return;
    this.#rolling = true;
    try {
      for (const old of [...this.#running].filter(({ state }) => state === "ready")) {
        if (this.#isStopping()) return;
        await this.#spawn().ready;
        await old.drain("leave", drainMs);
      }
    } catch (error) {
      if (!this.#isStopping()) this.#options.on.rollFailed(error);
    } finally {
      this.#rolling = false;
    }
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    await Promise.all([...this.#running].map((worker) => worker.drain("stop", drainMs)));
  }

  get states(): Readonly<Record<WorkerState, number>> {
    const states = { starting: 0, ready: 0, stale: 0, draining: 0 };
    for (const worker of this.#running) {
      const stale = worker.state === "ready" && !worker.serves(this.#settings.generation);
      states[stale ? "stale" : worker.state]++;
    }
    return states;
  }

  /** What all have counted, also those that are gone. */
  async gather(): Promise<readonly CollectedMetrics[]> {
    const workers = [...this.#running];
    for (const answered of await Promise.all(workers.map((worker) => worker.scrape())))
      if (!answered) this.#options.on.scrapeMissed();
    // Who ended meanwhile stands among the retired, and only there.
    const retired = await this.#retired;
    const told = workers.filter((worker) => this.#running.has(worker)).map(({ metrics }) => metrics);
    return [retired, ...told].filter((metrics) => metrics !== undefined);
  }

  #spawn(): WorkerProcess {
    const slots = new Set([...this.#running].map(({ slot }) => slot));
    let slot = 1;
    while (slots.has(slot)) slot++;
    const { startOf, mint, approvals, bank, on } = this.#options;
    const worker = new WorkerProcess(cluster.fork(), startOf(slot, this.#settings), {
      leaf: mint,
      approvals,
      bank,
      // Wrong at one is wrong at all of them, or guessing would be as many times as fast.
      guess: (guess, from) => {
        for (const other of this.#running) if (other !== from) other.guess(guess);
      },
    });
    this.#running.add(worker);
    worker.ready.then(
      () => on.started(worker),
      () => {},
    );
    void worker.ended.then((how) => this.#ended(worker, how));
    return worker;
  }

  #ended(worker: WorkerProcess, how: string): void {
    const { count, retire, on } = this.#options;
    this.#running.delete(worker);
    const { metrics, slot, pid } = worker;
    if (metrics !== undefined) {
      this.#retired = this.#retired.then((before) => retire(before, metrics)).catch(() => undefined);
    }
    const asked = worker.asked || (this.#stopping && worker.killed);
    const cause = asked ? "asked" : worker.killed ? "unresponsive" : "crashed";
    const lacking = count - this.#restarts.size - [...this.#running].filter(({ asked }) => !asked).length;
    const replace = !this.#stopping && lacking > 0;
    const restartMs = replace ? this.#backoff.ended(worker.livedMs) : undefined;
    on.ended({ slot, pid, cause, how, restartMs });
    if (restartMs === undefined) return;
    if (this.#backoff.hopeless && ![...this.#running].some(({ state }) => state === "ready")) {
      this.#broken.reject(new Error("no worker can be kept running; the log says how each ended"));
      return;
    }
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#spawn();
    }, restartMs);
    this.#restarts.add(timer);
  }

  // A call, because the type checker takes a checked property for constant.
  #isStopping(): boolean {
    return this.#stopping;
  }
}

const NOWHERE: Addresses = { proxy: [], transparent: [], dns: [], sockets: [] };
