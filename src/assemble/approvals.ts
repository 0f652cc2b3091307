// Opens approvals over the registry: whom to tell of them, and how one that is for always comes into the operator's file.

import type { AuditLog } from "../audit/log.ts";
import type { LoadOptions } from "../config/load.ts";
import type { ReloadCause, ReloadOutcome } from "../config/reloader.ts";
import { writeRule } from "../config/rule-file.ts";
import type { Config } from "../config/types.ts";
import { formatDiagnostic } from "../config/diagnostic.ts";
import type { ApprovalsOptions, Writable } from "../registry/approval-options.ts";
import type { AlwaysRule } from "../registry/approval-reach.ts";
import { ApprovalRegistry } from "../registry/approvals.ts";
import type { Approvals } from "../registry/asking.ts";
import { GrantUses } from "../registry/grant-uses.ts";
import type { Registry } from "../registry/registry.ts";
import { type Actor, type Control, ControlError } from "../registry/types.ts";
import { Webhook, type WebhookTarget } from "../registry/webhook.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { readMaterials } from "./materials.ts";

export type ApprovalPart = {
  /** For the data path. */
  readonly approvals: Approvals;
  readonly control: Pick<Control, "approvals" | "decideApproval">;
  close(): void;
};

export type ApprovalPartOptions = {
  readonly registry: Registry;
  readonly above: ApprovalsOptions["above"];
  readonly audit: AuditLog;
  readonly log: Log;
  readonly metrics: Metrics;
  /** As it is now. */
  readonly current: () => Config;
  readonly load: LoadOptions;
  readonly reload: (cause: ReloadCause) => Promise<ReloadOutcome>;
  readonly onFault: (error: unknown) => void;
};

export function openApprovals(options: ApprovalPartOptions): ApprovalPart {
  const { registry, above, audit, log, metrics, current, load, reload, onFault } = options;
  const now = Date.now;
  const webhook = new Webhook({
    target: webhookTarget(current),
    on: {
      delivery: (outcome) => metrics.webhookDelivery(outcome),
      fault: (error) => log.warn("the webhook could not be told of an approval", { error }),
    },
    now,
  });
  const decided = new ApprovalRegistry({
    registry,
    noted: (fields) => audit.noted("control", fields),
    above,
    always: alwaysInto(load, reload),
    pendingMs: () => Math.max(current().approvals.pendingMs, current().limits.approvalMs),
    heldFirstMs: current().store.kind === "postgres" ? REPLICAS_HEAR_MS : 0,
    paths: current().audit.privacy !== "zero-retention",
    on: {
      opened: webhook.tell,
      question: (outcome) => metrics.approvalQuestion(outcome),
      decided: (outcome) => metrics.approval(outcome),
      pending: (count) => metrics.approvalsPending(count),
    },
    onFault,
    now,
  });
  const uses = new GrantUses({ replica: registry.replica, onFault, now });
  return {
    approvals: { ask: decided.ask, used: uses.used },
    control: {
      approvals: () => decided.all(),
      decideApproval: (actor, id, decision) => decided.decide(actor, id, decision),
    },
    close() {
      decided.close();
      webhook.close();
    },
  };
}

const REPLICAS_HEAR_MS = 2_000;

/** Its trust anchors are read once for each configuration. */
function webhookTarget(current: () => Config): () => WebhookTarget | undefined {
  let made: { readonly of: Config; readonly target: WebhookTarget | undefined } | undefined;
  return () => {
    const of = current();
    if (made?.of !== of) {
      const { webhook } = of.approvals;
      const target = webhook && { ...webhook, trust: readMaterials(of).origins.anchors };
      made = { of, target };
    }
    return made.target;
  };
}

/** One rule at a time: each is added to what the one before has made of the file. */
function alwaysInto(
  load: LoadOptions,
  reload: (cause: ReloadCause) => Promise<ReloadOutcome>,
): ApprovalsOptions["always"] {
  let last: Promise<unknown> = Promise.resolve();
  return async (rule, by, at): Promise<Writable> => {
    const whole = { ...rule, comment: commentOf(rule, by, at) };
    const attempt = async (write: boolean): Promise<void> => {
      const problem = await writeRule(load, whole, { write });
      if (problem !== undefined) throw new ControlError("conflict", problem);
    };
    await attempt(false);
    return {
      write() {
        const written = last.then(async () => {
          await attempt(true);
          const outcome = await reload("admin");
          if (!outcome.ok)
            throw new ControlError("conflict", outcome.diagnostics.map(formatDiagnostic).join("; "));
        });
        last = written.catch(() => {});
        return written;
      },
    };
  };
}

function commentOf({ approval }: AlwaysRule, { name }: Actor, at: number): string {
  return `${approval}: approved by ${name}, ${new Date(at).toISOString()}`;
}
