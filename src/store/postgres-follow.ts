// Hears of changes: by LISTEN on a connection of its own, which is asked every few seconds whether it still tells everything; while
// there is none, by asking often. It never gives up, and never asks twice at once.

import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { within } from "./postgres-connection.ts";
import { CHANNEL, currentRevision } from "./postgres-statements.ts";

export type FollowOptions = {
  /** Not connected yet. */
  readonly client: () => Client;
  /** The revision, over another connection. */
  readonly poll: () => Promise<number>;
  readonly changed: () => void;
  /** The connection is another than before, and so perhaps the server and what it knows. */
  readonly anew: () => void;
  readonly answered: () => void;
  /** From time to time, while it listens. */
  readonly tidy: () => Promise<void>;
  readonly boundMs: number;
};

export class Follower {
  readonly #options: FollowOptions;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  readonly #first = Promise.withResolvers<void>();
  #revision = NONE;
  #tidyAt = 0;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Resolves after the first attempt, whatever became of it. */
  get attempted(): Promise<void> {
    return this.#first.promise;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#listen();
      } catch {
        // Told by the poll that follows, if it is more than this connection.
      }
      this.#first.resolve();
      if (signal.aborted) return;
      try {
        this.#saw(await this.#options.poll());
      } catch {
        // Counted where it is asked.
      }
      // Spread, so that replicas do not return all at once.
      await pause(POLL_MS * (0.75 + Math.random() / 2), signal);
    }
  }

  /** Returns when it is closed; throws when the connection is lost. */
  async #listen(): Promise<void> {
    const { client: make, boundMs, anew, answered } = this.#options;
    const client = make();
    const wake = new AbortController();
    const stop = (): void => wake.abort();
    this.#closing.signal.addEventListener("abort", stop, { once: true });
    client.on("end", stop);
    client.on("notification", ({ payload }) => {
      // It may come after an answer that knows of it already.
      if (Number(payload) > this.#revision) this.#saw(Number(payload));
    });
    let listening = false;
    try {
      await within(boundMs, client.connect());
      await within(boundMs, client.query(`LISTEN ${CHANNEL}`));
      listening = true;
      anew();
      this.#revision = NONE;
      while (!wake.signal.aborted) {
        this.#saw(await within(boundMs, currentRevision(client)));
        answered();
        this.#first.resolve();
        await this.#tidy();
        await pause(HEARTBEAT_MS, wake.signal);
      }
    } finally {
      if (listening) anew();
      this.#closing.signal.removeEventListener("abort", stop);
      await endOf(client);
    }
  }

  #saw(revision: number): void {
    if (revision === this.#revision) return;
    if (revision < this.#revision) this.#options.anew();
    this.#revision = revision;
    this.#options.changed();
  }

  async #tidy(): Promise<void> {
    if (performance.now() < this.#tidyAt) return;
    this.#tidyAt = performance.now() + TIDY_MS;
    try {
      await this.#options.tidy();
    } catch {
      // It is only put off.
    }
  }
}

async function endOf(client: Client): Promise<void> {
  try {
    await within(CLOSE_MS, client.end());
  } catch {
    // It says nothing any more.
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    // Woken.
  }
}

/** Below every revision. */
const NONE = -1;
const POLL_MS = 500;
const HEARTBEAT_MS = 5_000;
const TIDY_MS = 60_000;
const CLOSE_MS = 500;
