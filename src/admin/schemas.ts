// What the API reads and answers, field by field; the OpenAPI document is made of these. Times are RFC 3339, spans a number and a
// unit: `90s`, `2h`.

import * as z from "zod";
import { DURATION, parseDuration } from "../net/duration.ts";
import { EVERYBODY } from "./route.ts";

const moment = z.iso.datetime();
const maybe = <T extends z.ZodType>(schema: T) => schema.nullable();

/** Milliseconds from then on; its bounds are the registry's to judge. */
export const span = z
  .string()
  .regex(DURATION, "expected a time span such as 90s, 30m, 2h or 7d")
  .transform((text) => parseDuration(text) ?? Number.NaN)
  .meta({ examples: ["90s", "2h"] });

export const reason = z.string().min(1).max(500);
const phase = z.enum(["setup", "agent"]);
const labels = z.record(z.string(), z.string());
const policyName = z.string().min(1).max(128);
const policies = z.union([
  policyName.transform((both) => ({ setup: both, agent: both })),
  z.strictObject({ setup: policyName, agent: policyName }),
]);
const methods = z.union([z.literal("all"), z.array(z.string().min(1)).min(1).max(64)]);
const ports = z.array(z.int().min(1).max(65_535)).min(1).max(64);
const paths = z.array(z.string().min(1).max(1_024)).min(1).max(64);
const role = z.enum(EVERYBODY);

export const SANDBOX = z
  .strictObject({
    id: z.string(),
    origin: z.enum(["file", "api"]).describe("`file`: the operator's file declares it."),
    state: z.enum(["active", "ended"]),
    policy: z.strictObject({ setup: z.string(), agent: z.string() }),
    phase,
    agent_at: maybe(moment).describe("When it moves to `agent` by itself."),
    expires_at: maybe(moment),
    labels,
    lockdown: maybe(z.string()).describe("Why everything is denied to it."),
    created_at: maybe(moment),
    created_by: maybe(z.string()),
    ended_at: maybe(moment),
    ended_because: maybe(z.string()),
    version: z.int(),
  })
  .meta({ id: "Sandbox" });

export const BUDGETS = z
  .strictObject({
    items: z.array(
      z.strictObject({
        name: z.string(),
        host: maybe(z.string()).describe("null: over all hosts."),
        limit: z.number(),
        spent: z.number(),
        renews_at: maybe(moment).describe("null: never."),
      }),
    ),
  })
  .meta({ id: "Budgets" });

export const REFUSALS = z
  .strictObject({
    items: z.array(
      z.strictObject({
        method: z.string(),
        url: z.string().describe("Without its query."),
        reason: z.string(),
        times: z.int(),
      }),
    ),
  })
  .meta({ id: "Refusals" });

export const REGISTRATION = z
  .strictObject({
    id: z.string().optional().describe("Absent: one is made."),
    policy: policies.describe("One name, or one for each phase."),
    phase: phase.optional().describe("Absent: `setup` where there is a time for it, else `agent`."),
    ttl: span.optional().describe("Ends by itself after so long."),
    setup_for: span.optional().describe("Moves to `agent` by itself after so long."),
    labels: labels.prefault({}).describe("Told in every record: repository, task, user, sensitivity."),
    sources: z.array(z.string()).optional().describe("Networks from which it needs no credentials."),
    proxy: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("The proxy as the sandbox reaches it."),
    mount_point: z
      .string()
      .regex(/^\/[^"\p{Cc}]{0,1000}$/u, "expected an absolute path without quotation marks")
      .prefault("/etc/sallyport")
      .describe("Where the sandbox has the files that its environment names."),
  })
  .meta({ id: "Registration" });

export const REGISTERED = z
  .strictObject({
    sandbox: SANDBOX,
    secret: z.string().describe("Told once, and kept nowhere."),
    environment: z.record(z.string(), z.string()),
    ca: z.string().describe("The trust anchor, PEM."),
  })
  .meta({ id: "Registered" });

export const FILES = z
  .strictObject({
    files: z.array(
      z.strictObject({ name: z.string(), encoding: z.enum(["utf-8", "base64"]), content: z.string() }),
    ),
  })
  .meta({ id: "Files" });

export const SANDBOX_CHANGES = z
  .strictObject({
    policy: policies.optional(),
    labels: labels.optional(),
    ttl: span.optional().describe("Counted from now."),
    version: z.int().optional().describe("That you have seen; where it is another by now: 409."),
  })
  .meta({ id: "SandboxChanges" });

export const MOVE = z.strictObject({ phase }).meta({ id: "Move" });

export const TOKEN = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    role,
    created_at: moment,
    created_by: z.string(),
    expires_at: maybe(moment),
  })
  .meta({ id: "Token" });

export const NEW_TOKEN = z
  .strictObject({ name: z.string(), role, ttl: span.optional() })
  .meta({ id: "NewToken" });

export const CREATED_TOKEN = z
  .strictObject({ token: TOKEN, secret: z.string().describe("Told once, and kept nowhere.") })
  .meta({ id: "CreatedToken" });

export const GRANT = z
  .strictObject({
    id: z.string(),
    sandbox: maybe(z.string()).describe("null: for every sandbox."),
    host: z.string(),
    ports: maybe(z.array(z.int())),
    methods: z.union([z.literal("all"), z.array(z.string())]),
    paths: maybe(z.array(z.string())),
    reason: z.string(),
    owner: z.string(),
    created_at: moment,
    expires_at: moment,
    used_at: maybe(moment).describe("When it last let something pass."),
  })
  .meta({ id: "Grant" });

export const NEW_GRANT = z
  .strictObject({
    sandbox: z.string().optional().describe("Absent: for every sandbox."),
    host: z.string().min(1).max(300).describe("As in a rule: a name, or a pattern."),
    ports: ports.optional(),
    methods: methods.prefault(["GET", "HEAD", "OPTIONS"]),
    paths: paths.optional(),
    reason,
    ttl: span,
  })
  .meta({ id: "NewGrant" });

export const LOCKDOWN = z
  .strictObject({
    sandbox: z.string().describe("`*`: all."),
    reason: z.string(),
    ordered_by: z.string(),
    ordered_at: moment,
  })
  .meta({ id: "Lockdown" });

export const NEW_LOCKDOWN = z
  .strictObject({ sandbox: z.string().min(1).max(64).describe("Its id, or `*` for all."), reason })
  .meta({ id: "NewLockdown" });

export const APPROVAL = z
  .strictObject({
    id: z.string(),
    state: z.enum(["pending", "allowed", "denied", "expired"]),
    sandbox: maybe(z.string()),
    source: maybe(z.string()),
    labels,
    policy: z.string(),
    method: z.string(),
    scheme: z.enum(["http", "https"]),
    host: z.string(),
    port: z.int(),
    path: z.string(),
    query: z.boolean().describe("There is one, which is not shown."),
    reason: z.string().describe("Why the policy does not allow it."),
    requests: z.int(),
    asked_at: moment,
    expires_at: moment,
    decided_by: maybe(z.string()),
    decided_at: maybe(moment),
    scope: maybe(z.enum(["once", "sandbox", "time", "always"])),
    note: maybe(z.string()),
  })
  .meta({ id: "Approval" });

export const DECISION = z
  .union([
    z.strictObject({ action: z.literal("deny"), reason }),
    z.strictObject({
      action: z.literal("allow"),
      scope: z
        .enum(["once", "sandbox", "always"])
        .describe("`always`: a rule of the policy's file; for operators."),
      reason,
    }),
    z.strictObject({ action: z.literal("allow"), scope: z.literal("time"), for: span, reason }),
  ])
  .meta({ id: "Decision" });

export const WHOAMI = z.strictObject({ name: z.string(), role, from: z.string() }).meta({ id: "Whoami" });

export const PROBLEM = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem" });
