// The API's routes of exceptions and their opposite: grants, approvals, lockdown.

import * as z from "zod";
import type { Decision } from "../registry/types.ts";
import { pageOf, PAGE_QUERY, pageSchema } from "./page.ts";
import * as present from "./present.ts";
import { Problem } from "./problem.ts";
import { APPROVERS, OPERATORS, type Route, route, VIEWERS } from "./route.ts";
import { APPROVAL, DECISION, GRANT, LOCKDOWN, NEW_GRANT, NEW_LOCKDOWN, reason } from "./schemas.ts";

const GRANT_ROUTES: readonly Route[] = [
  route({
    method: "GET",
    path: "/v1/grants",
    roles: VIEWERS,
    summary: "List what is granted, and when it was last used",
    query: z.strictObject({
      sandbox: z.string().optional().describe("Of this one alone."),
      used: z.enum(["true", "false"]).optional().describe("`false`: those that never let anything pass."),
      ...PAGE_QUERY,
    }),
    success: { status: 200, is: "A page of them.", schema: pageSchema(GRANT) },
    run({ control, query: { sandbox, used, ...page } }) {
      const found = control
        .grants()
        .filter((view) => sandbox === undefined || view.sandbox === sandbox)
        .filter(({ usedAt }) => used === undefined || (usedAt !== undefined) === (used === "true"));
      return pageOf(found, page, present.grant);
    },
  }),
  route({
    method: "POST",
    path: "/v1/grants",
    roles: OPERATORS,
    summary: "Grant for a while what no rule allows; deny rules and requirements stand above it",
    body: NEW_GRANT,
    success: { status: 201, is: "The grant, which holds everywhere.", schema: GRANT },
    run: async ({ actor, control, body }) => present.grant(await control.grant(actor, body)),
  }),
  route({
    method: "DELETE",
    path: "/v1/grants/{id}",
    roles: OPERATORS,
    summary: "Revoke a grant; what it let pass is cut",
    success: { status: 204, is: "It is gone, everywhere." },
    run: ({ actor, control, params: { id = "" } }) => control.revokeGrant(actor, id),
  }),
];

const APPROVAL_ROUTES: readonly Route[] = [
  route({
    method: "GET",
    path: "/v1/approvals",
    roles: VIEWERS,
    summary: "List what waits for a decision, and what was decided of late",
    query: z.strictObject({
      state: z.enum(["pending", "allowed", "denied", "expired", "all"]).prefault("pending"),
      ...PAGE_QUERY,
    }),
    success: { status: 200, is: "A page of them.", schema: pageSchema(APPROVAL) },
    run: ({ control, query: { state, ...page } }) =>
      pageOf(
        control.approvals().filter((view) => state === "all" || view.state === state),
        page,
        present.approval,
      ),
  }),
  route({
    method: "GET",
    path: "/v1/approvals/{id}",
    roles: VIEWERS,
    summary: "Read one: the id is what the sandbox was told to refer to",
    success: { status: 200, is: "The approval.", schema: APPROVAL },
    run({ control, params: { id } }) {
      const found = control.approvals().find((view) => view.id === id);
      if (found === undefined) throw new Problem("not-found", `there is no approval ${JSON.stringify(id)}`);
      return present.approval(found);
    },
  }),
  route({
    method: "POST",
    path: "/v1/approvals/{id}",
    roles: APPROVERS,
    summary: "Decide it: deny, or allow once, for the sandbox's life, for a time, or (operators) always",
    body: DECISION,
    success: { status: 200, is: "The approval, decided.", schema: APPROVAL },
    async run({ actor, control, params: { id = "" }, body }) {
      if (
        body.action === "allow" &&
        body.scope === "always" &&
        !OPERATORS.some((role) => role === actor.role)
      )
        throw new Problem(
          "forbidden",
          "what is allowed for always becomes a rule of the file, which is an operator's to write",
        );
      return present.approval(await control.decideApproval(actor, id, decisionOf(body)));
    },
  }),
];

const LOCKDOWN_ROUTES: readonly Route[] = [
  route({
    method: "GET",
    path: "/v1/lockdowns",
    roles: VIEWERS,
    summary: "List lockdowns in force",
    success: { status: 200, is: "All of them.", schema: z.strictObject({ items: z.array(LOCKDOWN) }) },
    run: ({ control }) => ({ items: control.lockdowns().map(present.lockdown) }),
  }),
  route({
    method: "POST",
    path: "/v1/lockdowns",
    roles: OPERATORS,
    summary: "Deny everything at once to one sandbox or to all, and cut what is open",
    body: NEW_LOCKDOWN,
    success: { status: 201, is: "It holds everywhere.", schema: LOCKDOWN },
    run: async ({ actor, control, body: { sandbox, reason: why } }) =>
      present.lockdown(await control.lockDown(actor, sandbox, why)),
  }),
  route({
    method: "DELETE",
    path: "/v1/lockdowns/{sandbox}",
    roles: OPERATORS,
    summary: "Lift a lockdown; `*`: the one of all",
    query: z.strictObject({ reason }),
    success: { status: 204, is: "It is lifted, everywhere." },
    run: ({ actor, control, params: { sandbox = "" }, query }) => control.lift(actor, sandbox, query.reason),
  }),
];

function decisionOf(body: z.output<typeof DECISION>): Decision {
  if (body.action === "deny" || body.scope !== "time") return body;
  const { for: ms, reason: why } = body;
  return { action: "allow", scope: "time", ms, reason: why };
}

export const EXCEPTION_ROUTES: readonly Route[] = [...GRANT_ROUTES, ...APPROVAL_ROUTES, ...LOCKDOWN_ROUTES];
