// The metrics of what is said while the proxy runs, by approvers and through the API, and what counts them: part of the table and of
// the metrics, in a file of their own.

import type { Registry } from "prom-client";
import { BUDGETS, type BudgetName } from "../policy/types.ts";
import { type Cell, family, histogram } from "./families.ts";
import type { Definition } from "./table.ts";

/** What becomes of one that is put to an approver. */
export const APPROVAL_OUTCOMES = ["once", "sandbox", "time", "always", "denied", "expired"] as const;
/** `unasked`: too much is asked already, or the store cannot be reached. */
export const QUESTION_OUTCOMES = ["new", "known", "unasked"] as const;
export const DELIVERY_OUTCOMES = ["delivered", "failed", "dropped"] as const;
/** `refused`: before anything left; `cut`: while octets passed. */
export const SHORT_OUTCOMES = ["refused", "cut"] as const;
const USED = ["yes", "no"] as const;
/** `unauthenticated`: without a token, or with a wrong one; `forbidden`: not that role's; `refused`: asked wrongly. */
export const API_OUTCOMES = ["done", "unauthenticated", "forbidden", "refused", "failed"] as const;
export type ApiOutcome = (typeof API_OUTCOMES)[number];
export type ShortOutcome = (typeof SHORT_OUTCOMES)[number];
export type ApprovalOutcome = (typeof APPROVAL_OUTCOMES)[number];
export type QuestionOutcome = (typeof QUESTION_OUTCOMES)[number];
export type DeliveryOutcome = (typeof DELIVERY_OUTCOMES)[number];

export type ControlMetrics = {
  approvalsPending(pending: number): void;
  approval(outcome: ApprovalOutcome): void;
  approvalQuestion(outcome: QuestionOutcome): void;
  approvalWait(ms: number): void;
  webhookDelivery(outcome: DeliveryOutcome): void;
  grantExpired(used: boolean): void;
  apiRequest(outcome: ApiOutcome): void;
  budgetSpent(budget: BudgetName, amount: number): void;
  budgetShort(budget: BudgetName, outcome: ShortOutcome): void;
};

export const CONTROL_METRICS = {
  approvalsPending: {
    name: "sallyport_approvals_pending",
    type: "gauge",
    help: "Approvals that somebody is asked for and nobody has decided.",
    labels: {},
  },
  approvals: {
    name: "sallyport_approvals_total",
    type: "counter",
    help: "Approvals decided, by how far they reach, or expired undecided.",
    labels: { outcome: { values: APPROVAL_OUTCOMES } },
  },
  approvalQuestions: {
    name: "sallyport_approval_questions_total",
    type: "counter",
    help: "Requests that a policy asks about: for a new approval, for one that is known, or not to be asked about any more.",
    labels: { outcome: { values: QUESTION_OUTCOMES } },
  },
  approvalWait: {
    name: "sallyport_approval_wait_seconds",
    type: "histogram",
    help: "Time that requests were held for a decision.",
    labels: {},
    buckets: [0.1, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 3600],
  },
  webhookDeliveries: {
    name: "sallyport_webhook_deliveries_total",
    type: "counter",
    help: "Approvals told to the webhook; failed: given up after every attempt; dropped: too many wait.",
    labels: { outcome: { values: DELIVERY_OUTCOMES } },
  },
  grantsExpired: {
    name: "sallyport_grants_expired_total",
    type: "counter",
    help: "Grants that expired, by whether they ever let anything pass.",
    labels: { used: { values: USED } },
  },
  apiRequests: {
    name: "sallyport_api_requests_total",
    type: "counter",
    help: "Requests to the admin API, by what became of them.",
    labels: { outcome: { values: API_OUTCOMES } },
  },
  budgetSpent: {
    name: "sallyport_budget_spent_total",
    type: "counter",
    help: "What was spent of budgets: octets of uploads and downloads, requests, connections and hosts.",
    labels: { budget: { values: BUDGETS } },
  },
  budgetShort: {
    name: "sallyport_budget_short_total",
    type: "counter",
    help: "Exchanges refused or cut because a budget was spent, or nobody could tell what is left of it.",
    labels: { budget: { values: BUDGETS }, outcome: { values: SHORT_OUTCOMES } },
  },
} as const satisfies Record<string, Definition>;

export function controlCounters(registry: Registry): ControlMetrics {
  const pending = family(registry, CONTROL_METRICS.approvalsPending)();
  const approvals = cells(APPROVAL_OUTCOMES, family(registry, CONTROL_METRICS.approvals));
  const questions = cells(QUESTION_OUTCOMES, family(registry, CONTROL_METRICS.approvalQuestions));
  const wait = histogram(registry, CONTROL_METRICS.approvalWait).get("");
  const deliveries = cells(DELIVERY_OUTCOMES, family(registry, CONTROL_METRICS.webhookDeliveries));
  const grants = cells(USED, family(registry, CONTROL_METRICS.grantsExpired));
  const requests = cells(API_OUTCOMES, family(registry, CONTROL_METRICS.apiRequests));
  const spent = cells(BUDGETS, family(registry, CONTROL_METRICS.budgetSpent));
  const short = family(registry, CONTROL_METRICS.budgetShort);
  return {
    approvalsPending: (count) => void (pending.value = count),
    approval: (outcome) => void approvals[outcome].value++,
    approvalQuestion: (outcome) => void questions[outcome].value++,
    approvalWait: (ms) => wait?.(Math.max(ms, 0) / 1000),
    webhookDelivery: (outcome) => void deliveries[outcome].value++,
    grantExpired: (used) => void grants[used ? "yes" : "no"].value++,
    apiRequest: (outcome) => void requests[outcome].value++,
    budgetSpent: (budget, amount) => void (spent[budget].value += amount),
    budgetShort: (budget, outcome) => void short(budget, outcome).value++,
  };
}

function cells<V extends string>(values: readonly V[], cell: (value: V) => Cell): Record<V, Cell> {
  return Object.fromEntries(values.map((value) => [value, cell(value)])) as Record<V, Cell>;
}
