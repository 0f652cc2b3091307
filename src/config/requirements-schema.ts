// The keys of a requirements file. What is absent limits nothing; a list that is there and empty permits nothing.

import * as z from "zod";
import { budgets } from "./budget-schema.ts";
import { intents } from "./policy-schema.ts";
import { hostPattern, methods, name } from "./rule-schema.ts";
import { duration } from "./values.ts";

const patterns = z.array(hostPattern, "expected a list of host patterns");

export const requirementsSchema = z.strictObject({
  presets: z
    .array(name("a preset name"), "expected a list of preset names")
    .optional()
    .describe(
      "Presets that policies may use, alone, each with those that it includes; `all` must be named itself.",
    ),
  methods: methods
    .optional()
    .describe(
      "The most methods that may be allowed: `read-only`, `all`, or a list. Under a limit no TLS is spliced, and no raw TCP passed but to `tcp`.",
    ),
  intents: intents
    .prefault([])
    .describe("Exceptions to `methods` that policies may name: `git-fetch`, `npm-audit`."),
  hosts: patterns
    .optional()
    .describe("Hosts and networks that may be allowed, alone: by rules, by presets, by grants."),
  deny: patterns
    .prefault([])
    .describe("Hosts and networks that are always denied; names that resolve into such a network, too."),
  splice: patterns
    .optional()
    .describe("Hosts whose TLS may be passed unread, alone; `[]` requires interception everywhere."),
  tcp: patterns.optional().describe("Hosts to which raw TCP may be passed, alone; `[]` forbids it."),
  mode: z.literal("enforce").optional().describe("`enforce` forbids policies that only report."),
  budgets: budgets
    .prefault({})
    .describe(
      "The most that budgets may be, of every policy and for every sandbox, whether a policy has any or not.",
    ),
  audit: z
    .strictObject({
      durability: z.literal("disk").optional().describe("`disk`: every record is synced to the disk."),
    })
    .prefault({})
    .describe("Of the audit log."),
  grants: z
    .strictObject({
      role: z
        .enum(["approver", "operator", "admin"])
        .optional()
        .describe("The least role that may grant, and approve."),
      longest: duration("1s", "720h").optional().describe("The most time that anything is granted for."),
      always: z
        .boolean("expected true or false")
        .optional()
        .describe("`false`: no approval is for always, as a rule of the operator's file."),
    })
    .prefault({})
    .describe("What is granted and approved while the proxy runs."),
});

export type ParsedRequirements = z.output<typeof requirementsSchema>;
