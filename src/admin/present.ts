// What the registry shows, as the API answers it: times in RFC 3339, absence as null.

import type * as z from "zod";
import type {
  ApprovalView,
  BudgetView,
  GrantView,
  LockdownView,
  SandboxView,
  TokenView,
} from "../registry/types.ts";
import type { APPROVAL, BUDGETS, GRANT, LOCKDOWN, SANDBOX, TOKEN } from "./schemas.ts";

export function sandbox(view: SandboxView): z.input<typeof SANDBOX> {
  const { id, origin, state, policies, phase, labels, lockdown, version } = view;
  return {
    id,
    origin,
    state,
    policy: policies,
    phase,
    agent_at: moment(view.agentAt),
    expires_at: moment(view.expires),
    labels,
    lockdown: lockdown ?? null,
    created_at: moment(view.createdAt),
    created_by: view.createdBy ?? null,
    ended_at: moment(view.endedAt),
    ended_because: view.endedBecause ?? null,
    version,
  };
}

export function budget({
  name,
  host,
  limit,
  spent,
  renews,
}: BudgetView): z.input<typeof BUDGETS>["items"][number] {
  return { name, host: host ?? null, limit, spent, renews_at: moment(renews) };
}

export function token({ id, name, role, createdAt, createdBy, expires }: TokenView): z.input<typeof TOKEN> {
  const created_at = at(createdAt);
  return { id, name, role, created_at, created_by: createdBy, expires_at: moment(expires) };
}

export function grant(view: GrantView): z.input<typeof GRANT> {
  const { id, sandbox, host, ports, methods, paths, reason, owner } = view;
  return {
    id,
    sandbox: sandbox ?? null,
    host,
    ports: ports === undefined ? null : [...ports],
    methods: methods === "all" ? methods : [...methods],
    paths: paths === undefined ? null : [...paths],
    reason,
    owner,
    created_at: at(view.createdAt),
    expires_at: at(view.expires),
    used_at: moment(view.usedAt),
  };
}

export function lockdown({ sandbox, reason, orderedBy, orderedAt }: LockdownView): z.input<typeof LOCKDOWN> {
  return { sandbox, reason, ordered_by: orderedBy, ordered_at: at(orderedAt) };
}

export function approval(view: ApprovalView): z.input<typeof APPROVAL> {
  const { id, state, labels, policy, method, scheme, host, port, path, query, reason, requests } = view;
  return {
    id,
    state,
    sandbox: view.sandbox ?? null,
    source: view.source ?? null,
    labels,
    policy,
    method,
    scheme,
    host,
    port,
    path,
    query,
    reason,
    requests,
    asked_at: at(view.askedAt),
    expires_at: at(view.expires),
    decided_by: view.decidedBy ?? null,
    decided_at: moment(view.decidedAt),
    scope: view.scope ?? null,
    note: view.note ?? null,
  };
}

function at(ms: number): string {
  return new Date(ms).toISOString();
}

function moment(ms: number | undefined): string | null {
  return ms === undefined ? null : at(ms);
}
