// Where budgets hold for an exchange: it begins by drawing on them, pays for every octet, and is ended where they are spent.

import { budgetsFor, type Owner } from "../policy/budgets.ts";
import type { Budget, RuleRef } from "../policy/types.ts";
import type { Sandbox } from "../identity/identify.ts";
import type { Authority } from "../net/authority.ts";
import type { Host } from "../net/host.ts";
import type { ResponseHead } from "../net/message.ts";
import type { UpstreamRequest } from "../upstream/engine.ts";
import type { Course, Refused } from "./course.ts";
import { octetsOf } from "./gate.ts";
import { Meter } from "./meter.ts";
import type { Published } from "./parts.ts";
import type { Short } from "./purse.ts";

type RequestHead = Pick<UpstreamRequest, "method" | "target" | "headers">;

/** Draws what it takes to begin, the request's head among it; why it may not. Nothing has been sent or asked for it yet. */
export function seekBudget(
  course: Course,
  host: Host,
  request: RequestHead | undefined,
): undefined | Promise<Refused | undefined> {
  const { snapshot } = course.published;
  const budgets = budgetsFor(snapshot, course.bearing.sandbox.policy, host);
  return budgets && draw(course, host, request, budgets);
}

async function draw(
  course: Course,
  host: Host,
  request: RequestHead | undefined,
  budgets: readonly Budget[],
): Promise<Refused | undefined> {
  const { parts, bearing } = course;
  const { sandbox } = bearing;
  const cut = ({ reason, budget }: Short): void => {
    parts.metrics.budgetShort(budget.name, "cut");
    course.cut(reason);
  };
  const meter = new Meter(parts.purses, { owner: ownerOf(sandbox), budgets }, cut);
  course.meter = meter;
  const short = await meter.begin(host, request === undefined ? 0 : octetsOfRequest(request));
  if (short === undefined) return undefined;
  parts.metrics.budgetShort(short.budget.name, "refused");
  return { reason: short.reason, rule: ruleOf(short.budget) };
}

/** Whether it may go on under what holds now: what was not counted from its begin may not, once it would be. */
export function keepsBudgets(
  meter: Meter | undefined,
  { snapshot }: Published,
  sandbox: Sandbox,
  { host }: Authority,
): boolean {
  const budgets = budgetsFor(snapshot, sandbox.policy, host);
  if (meter === undefined) return budgets === undefined;
  meter.follow(ownerOf(sandbox), budgets ?? []);
  return true;
}

/** Whether an interim answer is; it is left out otherwise: the final one says what there is to say. */
export function paidFor(meter: Meter | undefined, interim: ResponseHead): boolean {
  if (meter === undefined) return true;
  const octets = octetsOfAnswer(interim);
  return meter.down.take(octets) === octets;
}

/** Seconds until it is worth another try; `undefined`: nothing was short. */
export function retryAfter(short: Short | undefined): number | undefined {
  return short && Math.max(1, Math.ceil(short.retryMs / 1000));
}

/** As HTTP/1.1 writes it, whatever is spoken: what it says is what leaves. */
function octetsOfRequest({ method, target, headers }: RequestHead): number {
  return method.length + target.length + LINE + octetsOf(headers);
}

export function octetsOfAnswer({ reason, headers }: ResponseHead): number {
  return reason.length + LINE + octetsOf(headers);
}

function ownerOf({ id, policy }: Sandbox): Owner {
  return { sandbox: id, policy };
}

function ruleOf({ name, host, source }: Budget): RuleRef {
  return { id: host === undefined ? `budget:${name}` : `budget:${name}:${host}`, source };
}

/** Spaces, version or status, and the ends of the first line and of the head. */
const LINE = 14;
