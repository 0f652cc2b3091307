// One worker as the primary sees it: what it was told, what it answered, and when it was last heard of. Every wait for it
// has a bound, and ends when it does.

import type { Worker } from "node:cluster";
import type { RosterUpdate } from "../identity/roster.ts";
import type { Approvals } from "../registry/asking.ts";
import type { Bank } from "../registry/budgeting.ts";
import type { CollectedMetrics } from "../telemetry/merge.ts";
import type {
  Addresses,
  DrainHow,
  Guess,
  LeafAnswer,
  Settings,
  StartFailure,
  ToPrimary,
  ToWorker,
  WorkerStart,
} from "./messages.ts";
import { AskedByWorker } from "./remote-approvals.ts";

export type WorkerEvents = {
  readonly leaf: (question: Extract<ToPrimary, { type: "leaf" }>) => LeafAnswer;
  readonly guess: (guess: Guess, from: WorkerProcess) => void;
  /** Whom its requests are put to. */
  readonly approvals: Approvals;
  readonly bank: Bank;
};

/** It did not come to listen. */
export class WorkerStartError extends Error {
  readonly code: string | undefined;
  readonly address: string | undefined;
  readonly port: number | undefined;

  constructor({ message, code, address, port }: StartFailure) {
    super(message);
    this.name = "WorkerStartError";
    this.code = code;
    this.address = address;
    this.port = port;
  }
}

export class WorkerProcess {
  readonly slot: number;
  readonly pid: number | undefined;
  /** Resolves once it listens. */
  readonly ready: Promise<Addresses>;
  /** Resolves once its process is gone. */
  readonly ended: Promise<string>;
  readonly #child: Worker;
  readonly #events: WorkerEvents;
  readonly #questions: AskedByWorker;
  readonly #born = performance.now();
  #state: "starting" | "ready" | "draining" = "starting";
  #generation = 0;
  #heard = performance.now();
  #auditHealthy = true;
  #metrics: CollectedMetrics | undefined;
  #asked = false;
  #drained = false;
  #killed = false;
  #listening = Promise.withResolvers<Addresses>();
  #published: { readonly generation: number; readonly resolve: (error: string | undefined) => void }[] = [];
  readonly #rostering = new Map<number, () => void>();
  #rosters = 0;
  #scrape: { readonly id: number; readonly answer: PromiseWithResolvers<void> } | undefined;
  #scrapes = 0;

  constructor(child: Worker, start: WorkerStart, events: WorkerEvents) {
    this.#child = child;
    this.#events = events;
    this.#questions = new AskedByWorker(events.approvals, (answer) => this.#send(answer));
    this.slot = start.slot;
    this.pid = child.process.pid;
    this.#generation = start.settings.generation;
    this.ready = this.#listening.promise;
    this.ready.catch(() => {});
    child.on("message", (message: ToPrimary) => this.#take(message));
    // Such as no process to be had; 'exit' may not follow.
    const failed = new Promise<string>((resolve) => child.on("error", (error) => resolve(error.message)));
    const exited = new Promise<string>((resolve) => {
      child.once("exit", (code: number | null, signal: string | null) => resolve(signal ?? `code ${code}`));
    });
    this.ended = Promise.race([exited, failed.then((why) => this.#lost(why, exited))]);
    void this.ended.then((how) => this.#gone(how));
    const late = setTimeout(() => this.kill(), START_MS);
    const settled = (): void => clearTimeout(late);
    this.ready.then(settled, settled);
    this.#send({ type: "start", start });
  }

  get state(): "starting" | "ready" | "draining" {
    return this.#state;
  }

  get livedMs(): number {
    return this.#state === "starting" ? 0 : performance.now() - this.#born;
  }

  /** It was asked to end. */
  get asked(): boolean {
    return this.#asked;
  }

  /** It was ended because it did not do as it was asked. */
  get killed(): boolean {
    return this.#killed;
  }

  /** What it last told. */
  get metrics(): CollectedMetrics | undefined {
    return this.#metrics;
  }

  get responsive(): boolean {
    return performance.now() - this.#heard < SILENT_MS;
  }

  serves(generation: number): boolean {
    return (
      this.#state === "ready" && this.#generation === generation && this.#auditHealthy && this.responsive
    );
  }

  /** Whether it has taken it up; `false` also where it gave no answer in time. */
  publish(settings: Settings): Promise<boolean> {
    const { generation } = settings;
    const answer = new Promise<string | undefined>((resolve) => {
      this.#published.push({ generation, resolve });
    });
    this.#send({ type: "publish", settings });
    return within(
      PUBLISH_MS,
      answer.then((error) => error === undefined),
    ).then((taken) => taken === true);
  }

  /** Whether it holds there; one that has not begun to serve takes it up before anything else. */
  takeRoster(update: RosterUpdate): Promise<boolean> {
    const id = ++this.#rosters;
    const held = new Promise<true>((resolve) => void this.#rostering.set(id, () => resolve(true)));
    this.#send({ type: "roster", id, update });
    if (this.#state === "starting") return Promise.resolve(true);
    return within(PUBLISH_MS, held).then((taken) => taken === true);
  }

  /** False where it did not answer in time; what it told before stands. */
  async scrape(): Promise<boolean> {
    if (this.#drained || this.#state === "starting") return true;
    // One that hangs is not asked again and again; it has the first question still.
    if (this.#scrape === undefined || this.responsive) {
      this.#scrape = { id: ++this.#scrapes, answer: Promise.withResolvers<void>() };
      this.#send({ type: "scrape", id: this.#scrape.id });
    }
    return (
      (await within(
        SCRAPE_MS,
        this.#scrape.answer.promise.then(() => true),
      )) === true
    );
  }

  guess(guess: Guess): void {
    // What one that hangs has not read would pile up.
    if (this.responsive) this.#send({ type: "guess", guess });
  }

  /** Resolves once it has ended, which it is made to if it takes much longer than it may. */
  async drain(how: DrainHow, drainMs: number): Promise<void> {
    this.#state = "draining";
    this.#asked = true;
    this.#send({ type: "drain", how });
    if ((await within(drainMs + OVERTIME_MS, this.ended)) === undefined) this.kill();
    await this.ended;
  }

  kill(): void {
    this.#killed = true;
    this.#child.process.kill("SIGKILL");
  }

  #take(message: ToPrimary): void {
    this.#heard = performance.now();
    switch (message.type) {
      case "listening":
        if (this.#state === "starting") this.#state = "ready";
        return this.#listening.resolve(message.listeners);
      case "failed":
        // It ends by itself, or is made to.
        void within(OVERTIME_MS, this.ended).then((how) => how === undefined && this.kill());
        return this.#listening.reject(new WorkerStartError(message.failure));
      case "published":
        return this.#answered(message.generation, message.error);
      case "rostered":
        this.#rostering.get(message.id)?.();
        this.#rostering.delete(message.id);
        return;
      case "ask":
      case "ask-over":
      case "grant-used":
        return this.#questions.take(message);
      case "draw":
        return void this.#events.bank
          .draw(message.draw)
          .then((granted) => this.#send({ type: "drawn", id: message.id, granted }));
      case "leaf":
        return this.#send({ type: "leaf", id: message.id, answer: this.#events.leaf(message) });
      case "metrics":
        this.#metrics = message.metrics;
        if (this.#scrape?.id !== message.id) return;
        this.#scrape.answer.resolve();
        this.#scrape = undefined;
        return;
      case "alive":
        this.#auditHealthy = message.auditHealthy;
        return;
      case "guess":
        return this.#events.guess(message.guess, this);
      case "drained":
        this.#metrics = message.metrics;
        this.#drained = true;
        return;
    }
  }

  #answered(generation: number, error: string | undefined): void {
    if (error === undefined) this.#generation = Math.max(this.#generation, generation);
    const answered = this.#published.filter((one) => one.generation <= generation);
    this.#published = this.#published.filter((one) => one.generation > generation);
    for (const { resolve } of answered) resolve(error);
  }

  #gone(how: string): void {
    this.#listening.reject(new Error(`a worker ended before it listened (${how})`));
    for (const { resolve } of this.#published) resolve("gone");
    this.#published = [];
    this.#questions.gone();
    for (const gone of this.#rostering.values()) gone();
    this.#scrape?.answer.resolve();
  }

  /** Its channel failed: it may run on, and must not. */
  #lost(why: string, exited: Promise<string>): Promise<string> | string {
    if (this.pid === undefined) return why;
    this.kill();
    return exited;
  }

  #send(message: ToWorker): void {
    // Whether it arrives shows in what it answers.
    if (this.#child.isConnected()) this.#child.send(message, () => {});
  }
}

/** `undefined` where it takes longer. */
async function within<T>(ms: number, wait: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([wait, late]);
  } finally {
    clearTimeout(timer);
  }
}

const START_MS = 30_000;
const PUBLISH_MS = 10_000;
const SCRAPE_MS = 2_000;
const SILENT_MS = 10_000;
/** Beyond the time to drain: to close the audit log and the diagnostic log. */
const OVERTIME_MS = 10_000;
