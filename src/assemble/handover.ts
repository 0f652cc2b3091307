// What the primary publishes: the settings that its workers are to hold, those that run and those that start later.

import type { Settings } from "../cluster/messages.ts";
import type { Current } from "../config/reloader.ts";
import type { Config } from "../config/types.ts";
import type { RosterUpdate } from "../identity/roster.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { settingsOf } from "./settings.ts";

type Heirs = {
  publish(settings: Settings): Promise<void>;
  takeRoster(update: RosterUpdate): Promise<void>;
};

export class Handover {
  readonly #metrics: Metrics;
  #first: Config | undefined;
  #settings: Settings | undefined;
  #workers: Heirs | undefined;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  get settings(): Settings {
    if (this.#settings === undefined) throw new Error("nothing is published yet");
    return this.#settings;
  }

  /** Told of what is published from now on. */
  to(workers: Heirs): void {
    this.#workers = workers;
  }

  /** Resolves once it holds in every worker. */
  async takeRoster(update: RosterUpdate): Promise<void> {
    await this.#workers?.takeRoster(update);
  }

  /** Resolves once it holds in every worker. */
  async publish(current: Current, workers: number): Promise<void> {
    const config = fixedBy(this.#first ?? current.config, current.config);
    const settings = settingsOf({ ...current, config }, workers);
    this.#first ??= config;
    this.#settings = settings;
    await this.#workers?.publish(settings);
    this.#metrics.policyGeneration(settings.generation);
  }
}

/** What takes effect at the next start alone: a worker that starts later must not differ from the others in it. */
function fixedBy(first: Config, config: Config): Config {
  const { listen, sockets, transparent, dns, admin, workers, certs, ca, audit, store, log } = first;
  const limits = { ...config.limits, leaves: first.limits.leaves };
  return {
    ...config,
    listen,
    sockets,
    transparent,
    dns,
    admin,
    workers,
    certs,
    ca,
    audit,
    store,
    log,
    limits,
  };
}
