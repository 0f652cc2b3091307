// The configuration over time: read at the start, on a signal and when its files change; each outcome is counted, logged,
// audited and kept for /readyz. An invalid one changes nothing else (invariant 10).

import type { ReloadState } from "../admin/server.ts";
import type { AuditLog } from "../audit/log.ts";
import { formatDiagnostic, type Diagnostic } from "../config/diagnostic.ts";
import type { LoadOptions } from "../config/load.ts";
import { Reloader, type Current, type ReloadCause, type ReloadOutcome } from "../config/reloader.ts";
import type { Config } from "../config/types.ts";
import { watchConfig, type Watch } from "../config/watch.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { asError, logReload } from "./reports.ts";

/** The configuration is not valid; nothing was started. */
export class ConfigurationError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(formatDiagnostic).join("\n"));
    this.name = "ConfigurationError";
    this.diagnostics = diagnostics;
  }
}

export type ReloadsOptions = {
  readonly load: LoadOptions;
  readonly adapt?: ((config: Config) => Config) | undefined;
  readonly metrics: Metrics;
  readonly publish: (current: Current) => void | Promise<void>;
};

export class Reloads {
  readonly #reloader: Reloader;
  readonly #metrics: Metrics;
  #files: readonly string[] = [];
  #watch: Watch | undefined;
  /** Runs the commands that secrets come from anew. */
  #timer: NodeJS.Timeout | undefined;
  #reports: { readonly log: Log; readonly audit: AuditLog } | undefined;
  #last: ReloadState | undefined;
  /** What was read at the start holds to the end. */
  readonly #fixed: boolean;

  constructor({ load, adapt, metrics, publish }: ReloadsOptions) {
    this.#metrics = metrics;
    this.#fixed = adapt !== undefined;
    this.#reloader = new Reloader({
      load,
      adapt,
      publish,
      onFiles: (files) => {
        this.#files = files;
        void this.#watch?.update(files);
      },
      onOutcome: (outcome) => this.#ended(outcome),
    });
  }

  /** Throws a `ConfigurationError` unless it is valid. */
  async first(): Promise<{ readonly config: Config; readonly warnings: readonly Diagnostic[] }> {
    const { diagnostics } = await this.#reloader.reload("start");
    const config = this.#reloader.current?.config;
    if (config === undefined) throw new ConfigurationError(diagnostics);
    return { config, warnings: diagnostics };
  }

  get config(): Config | undefined {
    return this.#reloader.current?.config;
  }

  get last(): ReloadState | undefined {
    return this.#last;
  }

  /** From now on. */
  reportTo(reports: { readonly log: Log; readonly audit: AuditLog }): void {
    this.#reports = reports;
  }

  reload(cause: ReloadCause): Promise<ReloadOutcome> {
    return this.#reloader.reload(cause);
  }

  /** From now on what changes holds by itself. */
  async watch(log: Log): Promise<void> {
    if (this.#fixed) return;
    this.#renewIn(this.config?.secrets.everyMs);
    this.#watch = await watchConfig({
      files: this.#files,
      onChange: () => void this.#reloader.reload("file"),
      onFault: (directory, cause) =>
        log.warn("cannot watch the configuration", { directory, error: asError(cause) }),
    });
  }

  close(): void {
    this.#watch?.close();
    clearTimeout(this.#timer);
  }

  #renewIn(ms: number | undefined): void {
    clearTimeout(this.#timer);
    if (ms === undefined) return;
    this.#timer = setTimeout(() => {
      // An outcome sets the next.
      void this.#reloader.reload("timer");
    }, ms).unref();
  }

  #ended(outcome: ReloadOutcome): void {
    const { ok, cause, generation, diagnostics } = outcome;
    const at = Date.now();
    this.#last = ok ? { ok, at } : { ok, at, errors: diagnostics.map(formatDiagnostic) };
    this.#metrics.configReload(ok ? "success" : "failure");
    if (this.#watch !== undefined) this.#renewIn(this.config?.secrets.everyMs);
    if (this.#reports === undefined) return;
    logReload(this.#reports.log, outcome);
    this.#reports.audit.note("reload", { ok, cause, generation });
  }
}
