// Opens what is said of sandboxes while the proxy runs: the store that the configuration names, and the registry over it.

import type { AuditLog } from "../audit/log.ts";
import type { Config } from "../config/types.ts";
import type { RosterUpdate } from "../identity/roster.ts";
import { budgetsUnder } from "../policy/budgets.ts";
import type { Policy } from "../policy/types.ts";
import type { Noted } from "../registry/action.ts";
import type { Bank } from "../registry/budgeting.ts";
import { Budgets } from "../registry/budgets.ts";
import { openRegistry, type Registry } from "../registry/registry.ts";
import type { Declared } from "../registry/declared.ts";
import type { LoadOptions } from "../config/load.ts";
import type { ReloadCause, ReloadOutcome } from "../config/reloader.ts";
import type { Control } from "../registry/types.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { aboveOf, type Held } from "./above.ts";
import { type ApprovalPart, openApprovals } from "./approvals.ts";
import { pruneAudit } from "./prune.ts";
import { refusals } from "./refusals.ts";
import { asError } from "./reports.ts";
import { openStore } from "./store.ts";

export type ControlPart = {
  readonly registry: Registry;
  readonly control: Control;
  readonly approvals: ApprovalPart["approvals"];
  readonly bank: Bank;
  close(): Promise<void>;
};

export type ControlOptions = {
  readonly config: Config;
  readonly audit: AuditLog;
  readonly log: Log;
  readonly metrics: Metrics;
  /** The configuration as it is now, where it is read from, and how it is read again. */
  readonly current: () => Config;
  readonly load: LoadOptions;
  readonly reload: (cause: ReloadCause) => Promise<ReloadOutcome>;
  readonly declared: () => Declared;
  /** What holds now. */
  readonly held: () => Held;
  readonly publish: (update: RosterUpdate) => void | Promise<void>;
};

export async function openControl(options: ControlOptions): Promise<ControlPart> {
  const { config, audit, log, metrics, declared, held, publish } = options;
  const store = await openStore(config.store, log);
  const onFault = (error: unknown): void =>
    log.error("the store cannot be followed; what is known keeps holding", { error: asError(error) });
  const above = aboveOf(held);
  const noted: Noted = (fields) => audit.noted("control", fields);
  try {
    const registry = await openRegistry({
      store,
      noted,
      declared,
      above,
      publish,
      onGrantExpired: ({ id, used }) => {
        metrics.grantExpired(used);
        log.info("a grant has expired", { grant: id, used });
      },
      onFault,
      now: Date.now,
    });
    await publish(registry.roster());
    const { healthy } = registry.control;
    const watch = setInterval(() => metrics.storeHealthy(healthy()), HEALTH_MS).unref();
    const asked = openApprovals({ ...options, registry, above, onFault });
    const policies = () => {
      const { policies: all, requirements } = held();
      return all.map((policy) => ({ ...policy, budgets: budgetsUnder(policy, requirements) }));
    };
    const budgets = new Budgets({ store, registry, policies, onFault, now: Date.now });
    const { lockdowns, sandbox } = registry.control;
    const { directory } = config.audit;
    const prune = pruneAudit({ directory, noted, lockdowns, healthy, now: Date.now });
    return {
      registry,
      control: {
        ...registry.control,
        ...asked.control,
        budgets: budgets.views,
        refusals: refusals(directory, sandbox),
        pruneAudit: prune,
      },
      approvals: asked.approvals,
      bank: budgets,
      async close() {
        clearInterval(watch);
        budgets.close();
        asked.close();
        registry.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

export function declaredOf(config: Pick<Config, "sandboxes">, policies: readonly Policy[]): Declared {
  return { sandboxes: config.sandboxes, policies: policies.map(({ name }) => name) };
}

const HEALTH_MS = 1_000;
