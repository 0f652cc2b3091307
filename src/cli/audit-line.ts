// One audit record as one line for a person. Much in it comes from sandboxes: whatever a terminal would act on is escaped.

import { target } from "../audit/refusals.ts";
import type { AuditRecord, CompletionRecord, DecisionRecord } from "../audit/schema.ts";
import type { Style } from "./context.ts";

export type Paint = (style: Style, text: string) => string;

export function auditLine(record: AuditRecord, paint: Paint): string {
  const time = paint("dim", visible(record.at.replace("T", " ").replace(/\.\d+Z$/, "Z")));
  return [time, ...words(record, paint)].join("  ");
}

/** As the log itself holds it: one line of ASCII. */
export function auditJson(record: AuditRecord): string {
  const escape = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(record).replace(/[^\x20-\x7E]/g, escape);
}

function words(record: AuditRecord, paint: Paint): string[] {
  switch (record.type) {
    case "decision":
      return decision(record, paint);
    case "completion":
      return completion(record, paint);
    case "start":
    case "stop":
    case "reload":
    case "worker":
    case "control": {
      const fields = Object.entries(record.fields).map(([name, value]) => `${name}=${value}`);
      return [paint("cyan", record.type.padEnd(6)), visible(fields.join(" "))];
    }
    case "recovered":
      return [paint("magenta", record.type), visible([record.cause, record.fault ?? ""].join(" ").trim())];
    case "segment":
      return [paint("dim", `segment ${record.segment}`)];
    case "checkpoint":
      return [paint("dim", `signed up to record ${record.of}`)];
  }
}

function decision(record: DecisionRecord, paint: Paint): string[] {
  const [label, style] = VERDICTS[record.wouldDeny === undefined ? record.verdict : "report"];
  const reason = record.reason ?? record.wouldDeny?.reason;
  const rule = record.rule ?? record.wouldDeny?.rule;
  return [
    paint(style, label.padEnd(6)),
    visible(record.sandbox ?? "-"),
    visible(`${record.method ?? record.kind} ${target(record)}`),
    ...(reason === undefined ? [] : [paint(style, reason)]),
    ...(rule === undefined ? [] : [paint("dim", visible(named(rule)))]),
    paint("dim", visible(record.id)),
  ];
}

/** `allow[2] (sallyport.yaml:14:7)`; presets and the default are their own source. */
function named({ id, source }: NonNullable<DecisionRecord["rule"]>): string {
  return id === source ? id : `${id} (${source})`;
}

function completion(record: CompletionRecord, paint: Paint): string[] {
  const { outcome, status, reason, bytesUp, bytesDown, msTotal, id } = record;
  return [
    paint("dim", "end".padEnd(6)),
    [outcome, status, reason].filter((part) => part !== undefined).join(" "),
    `${bytesUp} B up, ${bytesDown} B down`,
    `${Math.round(msTotal)} ms`,
    paint("dim", visible(id)),
  ];
}

/** Control and invisible characters as escapes: a record is never to steer a terminal. */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

const VERDICTS = {
  allow: ["allow", "green"],
  deny: ["deny", "red"],
  /** Allowed only because the policy is report-only. */
  report: ["report", "yellow"],
  fault: ["fault", "magenta"],
} as const satisfies Record<DecisionRecord["verdict"] | "report", readonly [string, Style]>;
