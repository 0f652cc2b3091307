// Owns which configuration holds: reads, compiles and publishes a new one, or changes nothing (invariant 10). One reload
// at a time; all that are asked for meanwhile are one more.

import { isDeepStrictEqual } from "node:util";
import { compile, type Snapshot } from "../policy/compile.ts";
import type { Requirements } from "../policy/requirements.ts";
import type { Policy } from "../policy/types.ts";
import { sortDiagnostics, type Diagnostic } from "./diagnostic.ts";
import { loadConfig, type LoadOptions } from "./load.ts";
import type { Config, Loaded } from "./types.ts";

export type ReloadCause = "start" | "file" | "signal" | "admin" | "timer";

export type ReloadOutcome = {
  readonly ok: boolean;
  readonly cause: ReloadCause;
  /** The generation that holds afterwards; 0 before any. */
  readonly generation: number;
  /** Errors where it is not ok, warnings where it is. */
  readonly diagnostics: readonly Diagnostic[];
};

export type Current = {
  readonly generation: number;
  readonly config: Config;
  readonly snapshot: Snapshot;
  /** What the snapshot was compiled from. */
  readonly policies: readonly Policy[];
  readonly requirements: readonly Requirements[];
};

export type ReloaderOptions = {
  readonly load: LoadOptions;
  /** What is to hold in place of what was read. */
  readonly adapt?: ((config: Config) => Config) | undefined;
  /** Makes it hold, at once and for all; may throw or reject only before it changed anything. */
  readonly publish: (current: Current) => void | Promise<void>;
  /** For the metric, the log line and /readyz's detail. */
  readonly onOutcome?: (outcome: ReloadOutcome) => void;
  /** What to watch from now on. */
  readonly onFiles?: (files: readonly string[]) => void;
};

export class Reloader {
  readonly #options: ReloaderOptions;
  #current: Current | undefined;
  /** What listeners and files were made from, until the restart. */
  #first: Config | undefined;
  #file: string | undefined;
  #last: ReloadOutcome | undefined;
  #running: Promise<ReloadOutcome> | undefined;
  #next: Promise<ReloadOutcome> | undefined;

  constructor(options: ReloaderOptions) {
    this.#options = options;
  }

  /** `undefined` before the first reload that was ok. */
  get current(): Current | undefined {
    return this.#current;
  }

  get last(): ReloadOutcome | undefined {
    return this.#last;
  }

  /** Rejects only where `onOutcome` throws. */
  reload(cause: ReloadCause): Promise<ReloadOutcome> {
    if (this.#running === undefined) return this.#start(cause);
    // The one that runs may have read the files already: what changed since needs one more, and one is enough.
    this.#next ??= this.#running.then(
      () => this.#start(cause),
      () => this.#start(cause),
    );
    return this.#next;
  }

  #start(cause: ReloadCause): Promise<ReloadOutcome> {
    this.#next = undefined;
    const running = this.#reload(cause).finally(() => {
      if (this.#next === undefined) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #reload(cause: ReloadCause): Promise<ReloadOutcome> {
    const outcome = await this.#attempt(cause).catch((fault: unknown) => this.#failed(cause, fault));
    this.#last = outcome;
    this.#options.onOutcome?.(outcome);
    return outcome;
  }

  async #attempt(cause: ReloadCause): Promise<ReloadOutcome> {
    const { load, adapt, publish, onFiles } = this.#options;
    // Once a file was read, its absence is an error: the defaults must not take the place of a policy that was deleted, or
    // of one whose file an editor has emptied to write it anew.
    const mayBeEmpty = this.#file === undefined;
    const loaded = await loadConfig({ ...load, path: load.path ?? this.#file, mayBeEmpty });
    onFiles?.(loaded.files);
    const refusals = loaded.ok ? unmet(this.#first, loaded) : loaded.diagnostics;
    if (!loaded.ok || refusals.length > 0) {
      await this.#hold(loaded.requirements);
      return this.#refused(cause, refusals);
    }
    const generation = this.#generation + 1;
    const { policies, requirements } = loaded;
    const config = adapt?.(loaded.config) ?? loaded.config;
    const snapshot = loaded.snapshot(generation);
    const current = { generation, config, policies, requirements, snapshot };
    await publish(current);
    this.#current = current;
    this.#first ??= loaded.config;
    this.#file = loaded.file;
    const diagnostics = sortDiagnostics([...loaded.warnings, ...untilRestart(this.#first, loaded)]);
    return { ok: true, cause, generation, diagnostics };
  }

  /**
   * What an administrator requires does not wait for the operator's file to be valid: the policies that hold are held to it. A
   * source that was not read keeps its word.
   */
  async #hold(found: readonly Requirements[]): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    const named = (source: string) => (one: Requirements) => one.source === source;
    const requirements = [
      ...current.requirements.map((one) => found.find(named(one.source)) ?? one),
      ...found.filter(({ source }) => !current.requirements.some(named(source))),
    ];
    if (isDeepStrictEqual(requirements, current.requirements)) return;
    const generation = this.#generation + 1;
    const compiled = compile({ generation, policies: current.policies, requirements });
    // What was read was judged, pattern by pattern.
    if ("problems" in compiled) throw new Error("the requirements do not compile");
    const next = { ...current, generation, requirements, snapshot: compiled.snapshot };
    await this.#options.publish(next);
    this.#current = next;
  }

  get #generation(): number {
    return this.#current?.generation ?? 0;
  }

  #refused(cause: ReloadCause, diagnostics: readonly Diagnostic[]): ReloadOutcome {
    return { ok: false, cause, generation: this.#generation, diagnostics };
  }

  #failed(cause: ReloadCause, fault: unknown): ReloadOutcome {
    const message = fault instanceof Error ? fault.message : String(fault);
    const file = this.#options.load.path ?? this.#file ?? "sallyport.yaml";
    return this.#refused(cause, [{ file, line: 1, column: 1, severity: "error", message }]);
  }
}

/** Required, and not to be had before the restart. */
function unmet(first: Config | undefined, { requirements, at }: Loaded & { ok: true }): Diagnostic[] {
  return requirements.flatMap(({ durability }) =>
    durability === undefined || first === undefined || first.audit.durability === durability.value
      ? []
      : [
          {
            ...at(["audit", "durability"]),
            severity: "error",
            message: `restart: the audit log was opened with another durability than ${durability.value} (required by ${durability.source})`,
          },
        ],
  );
}

/** What was changed and yet cannot change while the proxy runs. */
function untilRestart(first: Config, { config, at }: Loaded & { ok: true }): Diagnostic[] {
  return FIXED.filter(({ of }) => !isDeepStrictEqual(of(first), of(config))).map(({ path }) => ({
    ...at(path),
    severity: "warning",
    message: `${path.join(".")} takes effect at restart`,
  }));
}

const FIXED: readonly { path: readonly string[]; of: (config: Config) => unknown }[] = [
  { path: ["listen"], of: (config) => [config.listen, config.sockets] },
  { path: ["transparent"], of: (config) => config.transparent },
  { path: ["dns"], of: (config) => config.dns },
  { path: ["admin"], of: (config) => config.admin },
  { path: ["workers"], of: (config) => config.workers },
  { path: ["certs"], of: (config) => config.certs },
  { path: ["ca"], of: (config) => config.ca },
  { path: ["audit", "directory"], of: (config) => config.audit.directory },
  { path: ["audit", "durability"], of: (config) => config.audit.durability },
  { path: ["audit", "rotate"], of: (config) => config.audit.rotate },
  { path: ["audit", "privacy"], of: (config) => config.audit.privacy },
  { path: ["store"], of: ({ store }) => (store.kind === "postgres" ? store.url.reveal() : store.file) },
  { path: ["log"], of: (config) => config.log },
  { path: ["limits", "leaves"], of: ({ limits }) => limits.leaves },
  { path: ["limits", "mintings"], of: ({ limits }) => limits.mintsPerSecond },
  { path: ["limits", "mintings_burst"], of: ({ limits }) => limits.mintBurst },
];
