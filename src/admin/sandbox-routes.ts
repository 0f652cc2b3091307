// The API's routes of sandboxes. A runtime sees and touches those alone that it registered.

import * as z from "zod";
import type { Actor, SandboxView } from "../registry/types.ts";
import { pageOf, PAGE_QUERY, pageSchema } from "./page.ts";
import * as present from "./present.ts";
import { Problem } from "./problem.ts";
import { EVERYBODY, type Route, route, RUNTIMES } from "./route.ts";
import {
  BUDGETS,
  FILES,
  MOVE,
  reason,
  REFUSALS,
  REGISTERED,
  REGISTRATION,
  SANDBOX,
  SANDBOX_CHANGES,
} from "./schemas.ts";

const LABEL = z.string().regex(/^[^=]+=/, "expected name=value");

export const SANDBOX_ROUTES: readonly Route[] = [
  route({
    method: "POST",
    path: "/v1/sandboxes",
    roles: RUNTIMES,
    summary: "Register a sandbox: its secret (told once), its environment and the CA",
    body: REGISTRATION,
    success: { status: 201, is: "It is let in from now on, by every process.", schema: REGISTERED },
    async run({ actor, control, kit, body }) {
      const { policy: policies, ttl, setup_for: setupFor, labels, sources, id, mount_point: seenAs } = body;
      const phase = body.phase ?? (setupFor === undefined ? "agent" : "setup");
      const proxyUrl = body.proxy ?? kit.proxyUrl();
      const made = await control.register(actor, { id, policies, phase, ttl, setupFor, labels, sources });
      const { secret } = made;
      return {
        sandbox: present.sandbox(made.sandbox),
        secret,
        environment: kit.environment({ proxyUrl, id: made.sandbox.id, secret, seenAs }),
        ca: kit.ca(),
      };
    },
  }),
  route({
    method: "GET",
    path: "/v1/sandboxes",
    roles: EVERYBODY,
    summary: "List sandboxes, in the order of their ids",
    query: z.strictObject({
      state: z.enum(["active", "ended", "all"]).prefault("active"),
      label: z
        .union([LABEL.transform((one) => [one]), z.array(LABEL)])
        .optional()
        .describe("`name=value`; of several each must hold."),
      ...PAGE_QUERY,
    }),
    success: { status: 200, is: "A page of them.", schema: pageSchema(SANDBOX) },
    run({ actor, control, query: { state, label = [], ...page } }) {
      const asked = label.map((text) => ({
        name: text.slice(0, text.indexOf("=")),
        value: text.slice(text.indexOf("=") + 1),
      }));
      const found = control
        .sandboxes()
        .filter((view) => state === "all" || view.state === state)
        .filter((view) => isShown(actor, view))
        .filter(({ labels }) => asked.every(({ name, value }) => labels[name] === value));
      return pageOf(found, page, present.sandbox);
    },
  }),
  route({
    method: "GET",
    path: "/v1/sandboxes/{id}",
    roles: EVERYBODY,
    summary: "Read one",
    success: { status: 200, is: "The sandbox.", schema: SANDBOX },
    run: ({ actor, control, params: { id = "" } }) => present.sandbox(shown(actor, id, control.sandbox(id))),
  }),
  route({
    method: "PATCH",
    path: "/v1/sandboxes/{id}",
    roles: RUNTIMES,
    summary: "Change its policy, labels or time to live; what is no longer allowed is cut",
    body: SANDBOX_CHANGES,
    success: { status: 200, is: "The sandbox as it is now, everywhere.", schema: SANDBOX },
    run: async ({ actor, control, params: { id = "" }, body: { policy: policies, labels, ttl, version } }) =>
      present.sandbox(await control.update(actor, id, { policies, labels, ttl, version })),
  }),
  route({
    method: "POST",
    path: "/v1/sandboxes/{id}/phase",
    roles: RUNTIMES,
    summary: "Move it to `agent`; back to `setup` for operators alone",
    body: MOVE,
    success: { status: 200, is: "The sandbox as it is now, everywhere.", schema: SANDBOX },
    run: async ({ actor, control, params: { id = "" }, body: { phase } }) =>
      present.sandbox(await control.move(actor, id, phase)),
  }),
  route({
    method: "DELETE",
    path: "/v1/sandboxes/{id}",
    roles: RUNTIMES,
    summary: "End it: its secret opens nothing any more, and all that it has open is cut",
    query: z.strictObject({ reason: reason.prefault("it was asked for") }),
    success: { status: 200, is: "The sandbox, ended.", schema: SANDBOX },
    run: async ({ actor, control, params: { id = "" }, query }) =>
      present.sandbox(await control.end(actor, id, query.reason)),
  }),
  route({
    method: "GET",
    path: "/v1/sandboxes/{id}/budgets",
    roles: EVERYBODY,
    summary: "What its policy lets it use up, and what it has spent",
    success: { status: 200, is: "Its budgets; empty: there are none.", schema: BUDGETS },
    async run({ actor, control, params: { id = "" } }) {
      shown(actor, id, control.sandbox(id));
      return { items: (await control.budgets(id)).map(present.budget) };
    },
  }),
  route({
    method: "GET",
    path: "/v1/sandboxes/{id}/refusals",
    roles: RUNTIMES,
    summary: "What was refused to it, each kind once, by the records of the machine that answers",
    success: { status: 200, is: "In the order in which they first happened.", schema: REFUSALS },
    async run({ actor, control, params: { id = "" } }) {
      shown(actor, id, control.sandbox(id));
      return { items: [...(await control.refusals(id))] };
    },
  }),
  route({
    method: "GET",
    path: "/v1/files",
    roles: EVERYBODY,
    summary: "The files that a sandbox's environment names, to be put where it mounts them",
    query: z.strictObject({ mount_point: REGISTRATION.shape.mount_point }),
    success: { status: 200, is: "Their names and contents; all of it public.", schema: FILES },
    run: ({ kit, query: { mount_point: seenAs } }) => ({
      files: kit
        .files(seenAs)
        .map(({ name, content }) =>
          typeof content === "string"
            ? { name, encoding: "utf-8", content }
            : { name, encoding: "base64", content: Buffer.from(content).toString("base64") },
        ),
    }),
  }),
];

function isShown(actor: Actor, { createdBy }: SandboxView): boolean {
  return actor.role !== "runtime" || createdBy === actor.name;
}

function shown(actor: Actor, id: string, view: SandboxView | undefined): SandboxView {
  if (view === undefined || !isShown(actor, view))
    throw new Problem("not-found", `there is no sandbox ${JSON.stringify(id)}`);
  return view;
}
