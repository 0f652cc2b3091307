// The life of a request, from its head to its completion record. Nothing reaches an origin before the decision record is
// written, and nothing is sent that was not judged.

import { decide } from "../policy/decide.ts";
import type { Origin } from "../upstream/engine.ts";
import { seekApproval } from "./approval.ts";
import { seekBudget } from "./budget.ts";
import type { Connection } from "./connection.ts";
import { Course } from "./course.ts";
import type { DownstreamExchange } from "./downstream.ts";
import { deliver } from "./deliver.ts";
import { looped, outward } from "./forward.ts";
import { injectionsFor } from "./inject.ts";
import { type Inquiry, readInquiry, requestFacts } from "./inquiry.ts";
import type { Parts } from "./parts.ts";
import { findRoute } from "./route.ts";
import { isWelcome, welcome } from "./welcome.ts";

export async function exchange(
  parts: Parts,
  connection: Connection,
  down: DownstreamExchange,
): Promise<void> {
  const course = new Course({ parts, connection, down, kind: "request" });
  try {
    const inquiry = readInquiry(connection, down.request);
    if ("reason" in inquiry) return await course.refuse(inquiry);
    course.concerns(inquiry);
    if (isWelcome(inquiry)) return await welcome(course, parts);
    const { who } = course;
    if (!who.ok) return await course.refuse(who);
    if (looped(down.request.head.headers, parts.pseudonym))
      return await course.refuse({ reason: "loop-detected" });

    const facts = requestFacts(inquiry, down.request, who.sandbox, parts.now());
    const judged = decide(course.published.snapshot, facts);
    const verdict = judged.action === "ask" ? await seekApproval(course, inquiry, judged) : judged;
    if (verdict.action !== "allow") return await course.refuse({ ...verdict, stage: "request" });

    const { bearing, published } = course;
    const injections = injectionsFor(published.snapshot, bearing.sandbox.policy, inquiry);
    bearing.injections = injections;
    const { pseudonym } = parts;
    const request = outward({ request: down.request, inquiry, body: down.body, pseudonym, injections });
    // Here and below: what is at hand is not waited for. That would cost each request a turn of the microtask queue.
    const budget = seekBudget(course, inquiry.target.host, request);
    const spent = budget && (await budget);
    if (spent !== undefined) return await course.refuse({ ...spent, stage: "request" });

    const found = findRoute(parts, {
      published,
      sandbox: bearing.sandbox,
      connection,
      scheme: inquiry.scheme,
      target: inquiry.target,
      reuse: true,
      by: byOf(down, inquiry),
    });
    const route = found instanceof Promise ? await found : found;
    course.spentOutward(route.ms);
    if (route.action === "deny") return await course.refuse({ ...route, stage: "address" });

    await course.allow(verdict, { facts, route });
    const answer = await course.send(route, course.meter?.outward(request) ?? request);
    const paid = deliver(course, answer);
    if (paid !== undefined) await paid;
  } catch (cause) {
    await course.fail(cause);
  }
}

function byOf({ request }: DownstreamExchange, { upgrade }: Inquiry): Origin["by"] {
  if (upgrade !== undefined) return "upgrade";
  return request.head.version === "2" ? "2" : "1.1";
}
