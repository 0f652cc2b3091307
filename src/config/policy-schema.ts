// The keys of a policy. Absence never allows.

import * as z from "zod";
import { budgets } from "./budget-schema.ts";
import { secrets } from "./secret-schema.ts";
import { methods, rule, spliceRule, tcpRule } from "./rule-schema.ts";

export const intents = z.array(z.enum(["git-fetch", "npm-audit"]), "expected a list of intents");

export const policy = z.strictObject({
  preset: z
    .union(
      [z.string().transform((only) => [only]), z.array(z.string())],
      "expected the name of a preset, or a list of names",
    )
    .prefault([])
    .describe("Presets whose hosts are allowed: a name or a list of names."),
  methods: methods
    .prefault("read-only")
    .describe(
      "Methods allowed: `read-only` (GET, HEAD, OPTIONS), `all`, or a list; exact and case-sensitive.",
    ),
  intents: intents
    .prefault([])
    .describe("Named exceptions to the methods: `git-fetch` (clone and fetch, never push), `npm-audit`."),
  mode: z
    .enum(["enforce", "report-only"])
    .default("enforce")
    .describe("`report-only` lets pass what would be denied, and records that it would have been."),
  ask: z
    .enum(["never", "wait", "refuse"])
    .default("never")
    .describe(
      "What becomes of a request that no rule allows: `never`: denied; `wait`: held until somebody approves it; `refuse`: refused with a reference to ask by. A tunnel is opened to read it; nothing leaves before the request itself is allowed.",
    ),
  allow: z.array(rule, "expected a list of rules").prefault([]).describe("Hosts allowed beside the presets."),
  deny: z
    .array(rule, "expected a list of rules")
    .prefault([])
    .describe("Hosts denied, whatever else allows them; the order of writing does not matter."),
  splice: z
    .array(spliceRule, "expected a list of hosts")
    .prefault([])
    .describe(
      "Hosts whose TLS is passed unread; they need `methods: all`, since nothing inside can be limited.",
    ),
  tcp: z
    .array(tcpRule, "expected a list of rules")
    .prefault([])
    .describe("Hosts and ports that a tunnel passes any bytes to, unread: SSH to a git host, a database."),
  budgets: budgets
    .optional()
    .describe(
      "What a sandbox may use up at most, and each host of it; absent: nothing is counted. See docs/budgets.md.",
    ),
  secrets,
  queries: z
    .enum(["redacted", "kept"])
    .default("redacted")
    .describe("Whether query strings stand in the audit log."),
  show_rules: z
    .boolean()
    .default(false)
    .describe("Whether a refusal shows the sandbox the rule's own reason."),
});
