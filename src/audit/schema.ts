// The schema of audit records, for readers: verification, tail, sinks and the published docs/audit-record.schema.json.
// Never on the data path.

import { z } from "zod";
import { REASONS, type Reason } from "../net/reasons.ts";
import { LIMITS } from "./record.ts";

const reason = z.enum(Object.keys(REASONS) as [Reason, ...Reason[]]);
const text = (limit: number, description: string) => z.string().max(limit).describe(description);
const count = (description: string) => z.int().min(0).describe(description);
const hash = (description: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$/)
    .describe(description);

const common = {
  v: z.literal(1).describe("Version of this schema."),
  seq: z.int().min(1).describe("Number of the record in its chain, from 1, without gaps."),
  at: z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    .describe("When it happened, UTC with milliseconds."),
  writer: text(LIMITS.id, "The chain it belongs to; one writer a directory."),
};
const sealed = { hash: hash("SHA-256 of the previous record's hash and this line up to here, base64url.") };

const rule = z.strictObject({
  id: text(LIMITS.id, "Rule, stable within a generation."),
  source: text(LIMITS.ruleSource, "Where it was written."),
  reason: text(LIMITS.ruleReason, "What the operator wrote beside it.").optional(),
});

const decision = z
  .strictObject({
    ...common,
    type: z.literal("decision"),
    id: text(LIMITS.id, "Audit id of the exchange; the sandbox is shown it in a refusal."),
    kind: z
      .enum(["connect", "request", "upgrade", "handshake", "dns", "malformed", "connection"])
      .describe("What it is about."),
    tunnel: text(LIMITS.id, "Audit id of the CONNECT that it happened inside.").optional(),
    connection: text(LIMITS.id, "Id of the sandbox's connection."),
    way: z
      .enum(["transparent"])
      .describe(
        "How it came in, where not by asking a proxy. A status is then that of the CONNECT which stands for it.",
      )
      .optional(),
    sandbox: text(LIMITS.id, "Who asked, where known.").optional(),
    labels: z
      .record(z.string().max(LIMITS.labelName), z.string().max(LIMITS.labelValue))
      .describe("What whoever registered the sandbox said of it.")
      .optional(),
    method: text(LIMITS.method, "Method, as sent; of a DNS question, its type.").optional(),
    host: text(LIMITS.host, "Host, canonical where it could be read; userinfo redacted.").optional(),
    verdict: z.enum(["allow", "deny", "fault"]).describe("Verdict; `fault` where none could be reached."),
    stage: z
      .enum(["connect", "client-hello", "request", "address"])
      .describe("Where it was decided.")
      .optional(),
    reason: reason.describe("Reason code of a refusal or fault.").optional(),
    source: text(LIMITS.address, "Sandbox's address and port.").optional(),
    phase: z.enum(["setup", "agent"]).describe("Phase of the sandbox's life.").optional(),
    policy: text(LIMITS.id, "Name of the policy.").optional(),
    generation: count("Generation of the policy snapshot.").optional(),
    scheme: z.enum(["http", "https"]).describe("Scheme.").optional(),
    port: z.int().min(0).max(65535).describe("Port.").optional(),
    path: text(LIMITS.path, "Path as sent, without its query.").optional(),
    query: text(
      LIMITS.query,
      "Query with its `?`; `?[redacted]` unless the policy keeps queries.",
    ).optional(),
    rule: rule.describe("The rule that decided.").optional(),
    preset: text(LIMITS.id, "Preset that allowed it.").optional(),
    handling: z
      .enum(["intercept", "splice", "tcp"])
      .describe("What becomes of TLS inside the tunnel; `tcp`: any bytes passed unread.")
      .optional(),
    wouldDeny: z
      .strictObject({ reason, rule: rule.optional() })
      .describe("Report-only: what would be denied.")
      .optional(),
    secrets: z
      .array(z.string().max(LIMITS.address))
      .max(LIMITS.addresses)
      .describe("Names of the secrets that were put in.")
      .optional(),
    addresses: z
      .array(z.string().max(LIMITS.address))
      .max(LIMITS.addresses)
      .describe("Addresses that may be dialed, after judgement.")
      .optional(),
    parent: text(LIMITS.host, "Parent proxy on the way to the origin, `host:port`.").optional(),
    unresolved: z
      .literal(true)
      .describe("No address was judged: the parent proxy is told the name and resolves it.")
      .optional(),
    truncated: z
      .record(z.string(), z.int())
      .describe("Fields that were cut, with their full lengths.")
      .optional(),
    ...sealed,
  })
  .describe("Written before any octet of the request leaves and before a refusal is answered.");

const completion = z
  .strictObject({
    ...common,
    type: z.literal("completion"),
    id: text(LIMITS.id, "Audit id of the decision that it completes."),
    outcome: z.enum(["completed", "refused", "aborted", "fault"]).describe("How it ended."),
    reason: reason.describe("Reason code, where it did not end well.").optional(),
    status: z.int().describe("Status answered to the sandbox.").optional(),
    address: text(LIMITS.address, "The address dialed.").optional(),
    bytesUp: count("Octets sent to the origin: heads, bodies, tunnel and upgraded bytes."),
    bytesDown: count("Octets sent to the sandbox."),
    msTotal: z.number().min(0).describe("Milliseconds from the request's start to its end."),
    msOrigin: z.number().min(0).describe("Milliseconds that the origin took to its first octet.").optional(),
    truncated: z
      .record(z.string(), z.int())
      .describe("Fields that were cut, with their full lengths.")
      .optional(),
    ...sealed,
  })
  .describe("Written when the exchange has ended.");

const note = <T extends "start" | "stop" | "reload" | "worker" | "control">(type: T, description: string) =>
  z
    .strictObject({
      ...common,
      type: z.literal(type),
      fields: z
        .record(
          z.string().max(LIMITS.noteKey),
          z.union([z.string().max(LIMITS.noteValue), z.number(), z.boolean()]),
        )
        .describe("Details, such as the version, the generation or a signal."),
      ...sealed,
    })
    .describe(description);

const recovered = z
  .strictObject({
    ...common,
    type: z.literal("recovered"),
    cause: z.enum(["open", "failure", "stall"]).describe("After a crash, a failed write, or one that hung."),
    fault: text(LIMITS.method, "Code of the operating system's error.").optional(),
    tornOctets: count("Octets of an unfinished last line that were cut off.").optional(),
    tornFile: text(LIMITS.host, "File beside the log that keeps them.").optional(),
    openDecisions: count(
      "Decisions of the last segment whose exchange had not completed at the crash.",
    ).optional(),
    missing: count("Signed records that were gone when the log was opened.").optional(),
    head: z.enum(["missing", "invalid"]).describe("The head file was not as it was left.").optional(),
    refused: count("Exchanges refused, unrecorded, while the log could not be written.").optional(),
    lost: count("Completions and notes that were dropped meanwhile.").optional(),
    ...sealed,
  })
  .describe("The log was repaired; says what was found.");

const segment = z
  .strictObject({
    ...common,
    type: z.literal("segment"),
    segment: z.int().min(1).describe("Number of the segment, as in its file name."),
    previous: hash("Hash of the last record before it."),
    key: text(LIMITS.method, "Fingerprint of the signing key: SHA-256 of its SPKI, base64url."),
    privacy: z.enum(["standard", "zero-retention"]).describe("Privacy level in force."),
    ...sealed,
  })
  .describe("First record of each file.");

const checkpoint = z
  .strictObject({
    ...common,
    type: z.literal("checkpoint"),
    of: count("Number of the record before it; everything up to there is signed."),
    signature: z.string().describe("Ed25519 over the checkpoint statement, base64url."),
    ...sealed,
  })
  .describe("A signature over the chain so far.");

export const auditRecord = z
  .discriminatedUnion("type", [
    decision,
    completion,
    note("start", "The proxy started."),
    note("stop", "The proxy stopped in order."),
    note("reload", "A new configuration was taken up, or refused."),
    note("worker", "A worker process began to serve, or ended."),
    note("control", "Somebody changed what holds for sandboxes: who, from where, and what."),
    recovered,
    segment,
    checkpoint,
  ])
  .describe("One line of Sallyport's audit log, version 1.");

export type AuditRecord = z.infer<typeof auditRecord>;
export type DecisionRecord = z.infer<typeof decision>;
export type CompletionRecord = z.infer<typeof completion>;
