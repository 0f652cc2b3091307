// The wire form of audit records: one line of ASCII JSON each, chained by hash. What stands in a record and how it is
// bounded is decided here; credentials, bodies and unasked-for queries must never be. The schema is in schema.ts.

import { hash } from "node:crypto";
import type { RuleRef } from "../policy/types.ts";
import { ownText } from "../net/own-text.ts";
import { quote } from "./escape.ts";
import { Fields, numeral } from "./fields.ts";
import type { CompletionFields, DecisionFields, Subject } from "./types.ts";

export type Privacy = "standard" | "zero-retention";

/** Longest values, in UTF-16 units before escaping; what was longer is cut and named in `truncated`. */
export const LIMITS = {
  host: 255,
  method: 64,
  path: 2048,
  query: 2048,
  id: 128,
  address: 64,
  addresses: 32,
  ruleSource: 512,
  ruleReason: 512,
  noteKey: 64,
  noteValue: 1024,
  noteFields: 64,
  labels: 16,
  labelName: 64,
  labelValue: 256,
} as const;

/** The chain's place: the last record's number and hash. */
export type Position = { readonly seq: number; readonly hash: string };

/** What the first record's hash is chained to: 32 zero octets, in base64url. */
export const GENESIS: Position = { seq: 0, hash: "A".repeat(43) };

/** One record before it has its number: `text` begins with `"type"` and has no closing brace. */
export type Body = { readonly at: number; readonly text: string; readonly decision: boolean };

/** The record's line without its line feed, and its hash: SHA-256 of the previous hash's text and all before `,"hash"`. */
export function seal(previous: Position, writer: string, body: Body): { line: string; hash: string } {
  const numbered = '{"v":1,"seq":' + String(previous.seq + 1) + ',"at":"' + isoTime(body.at);
  const chained = previous.hash + numbered + '","writer":"' + writer + '",' + body.text;
  const digest = sha256(chained);
  // Hashing has put its pieces together, which need not be done once more for the line.
  return { line: chained.slice(previous.hash.length) + ',"hash":"' + digest + '"}', hash: digest };
}

export function chainHash(previous: string, open: string): string {
  return sha256(previous + open);
}

function sha256(text: string): string {
  return hash("sha256", text, "base64url");
}

export function decisionBody(
  id: string,
  subject: Subject,
  fields: DecisionFields,
  { at, privacy }: { at: number; privacy: Privacy },
): Body {
  const out = new Fields("decision").text(',"id":', id, LIMITS.id).word(',"kind":', subject.kind);
  out.text(',"tunnel":', subject.tunnel, LIMITS.id).text(',"connection":', subject.connection, LIMITS.id);
  out.text(',"sandbox":', subject.sandbox, LIMITS.id);
  out
    .again(',"method":', subject.method, LIMITS.method)
    .text(',"host":', withoutUserinfo(subject.host), LIMITS.host);
  out.word(',"verdict":', fields.verdict).word(',"stage":', fields.stage).word(',"reason":', fields.reason);
  if (privacy === "standard") {
    out.word(',"way":', subject.way).text(',"source":', subject.source, LIMITS.address);
    out.raw(',"labels":', labels(subject.labels)).word(',"phase":', subject.phase);
    out.again(',"policy":', subject.policy, LIMITS.id).number(',"generation":', subject.generation);
    out.word(',"scheme":', subject.scheme).number(',"port":', subject.port);
    writeTarget(out, subject);
    out
      .raw(',"rule":', rule(fields.rule))
      .again(',"preset":', fields.preset, LIMITS.id)
      .word(',"handling":', fields.handling);
    if (fields.wouldDeny !== undefined) {
      const named = rule(fields.wouldDeny.rule);
      out.raw(
        ',"wouldDeny":',
        `{"reason":"${fields.wouldDeny.reason}"${named === undefined ? "" : `,"rule":${named}`}}`,
      );
    }
    out
      .list(',"secrets":', fields.secrets, LIMITS)
      .list(',"addresses":', fields.addresses, LIMITS)
      .again(',"parent":', fields.parent, LIMITS.host);
    if (fields.unresolved === true) out.raw(',"unresolved":', "true");
  }
  return { at, text: out.end(), decision: true };
}

export function completionBody(
  id: string,
  fields: CompletionFields,
  { at, privacy }: { at: number; privacy: Privacy },
): Body {
  const out = new Fields("completion").text(',"id":', id, LIMITS.id).word(',"outcome":', fields.outcome);
  out.word(',"reason":', fields.reason);
  if (privacy === "standard")
    out.number(',"status":', fields.status).text(',"address":', fields.address, LIMITS.address);
  out.number(',"bytesUp":', fields.bytesUp).number(',"bytesDown":', fields.bytesDown);
  out.number(',"msTotal":', fields.msTotal).number(',"msOrigin":', fields.msOrigin);
  return { at, text: out.end(), decision: false };
}

export type NoteFields = Readonly<Record<string, string | number | boolean>>;

export function noteBody(
  event: "start" | "stop" | "reload" | "worker" | "control",
  fields: NoteFields,
  at: number,
): Body {
  const inner: string[] = [];
  for (const [key, value] of Object.entries(fields).slice(0, LIMITS.noteFields)) {
    const name = quote(key.slice(0, LIMITS.noteKey));
    if (typeof value === "string") inner.push(`${name}:${quote(value.slice(0, LIMITS.noteValue))}`);
    else inner.push(`${name}:${typeof value === "boolean" ? String(value) : numeral(value)}`);
  }
  return { at, text: `"type":"${event}","fields":{${inner.join(",")}}`, decision: false };
}

/** What was found or lost when the log came back; counts of zero are left out. */
export type Recovery = {
  readonly cause: "open" | "failure" | "stall";
  /** The error's code, such as `ENOSPC`. */
  readonly fault?: string | undefined;
  readonly tornOctets?: number | undefined;
  readonly tornFile?: string | undefined;
  readonly openDecisions?: number | undefined;
  readonly missing?: number | undefined;
  readonly head?: "missing" | "invalid" | undefined;
  readonly refused?: number | undefined;
  readonly lost?: number | undefined;
};

export function recoveredBody(found: Recovery, at: number): Body {
  const out = new Fields("recovered")
    .word(',"cause":', found.cause)
    .text(',"fault":', found.fault, LIMITS.method);
  out.count(',"tornOctets":', found.tornOctets).text(',"tornFile":', found.tornFile, LIMITS.host);
  out
    .count(',"openDecisions":', found.openDecisions)
    .count(',"missing":', found.missing)
    .word(',"head":', found.head);
  out.count(',"refused":', found.refused).count(',"lost":', found.lost);
  return { at, text: out.end(), decision: false };
}

/** A segment's first record: ties the file to its number and to the segment before it. */
export function segmentBody(
  segment: { number: number; previous: string; key: string; privacy: Privacy },
  at: number,
): Body {
  const out = new Fields("segment")
    .number(',"segment":', segment.number)
    .word(',"previous":', segment.previous);
  return {
    at,
    text: out.word(',"key":', segment.key).word(',"privacy":', segment.privacy).end(),
    decision: false,
  };
}

/** Signs everything up to record `of`, the one before it. */
export function checkpointBody(of: number, signature: string, at: number): Body {
  return {
    at,
    text: new Fields("checkpoint").number(',"of":', of).word(',"signature":', signature).end(),
    decision: false,
  };
}

// A malformed target may hold a query or userinfo where none belongs; neither may stand in the record unasked.
function writeTarget(out: Fields, subject: Subject): void {
  const mark = subject.keepQuery ? -1 : (subject.path?.indexOf("?") ?? -1);
  out.text(',"path":', mark < 0 ? subject.path : subject.path?.slice(0, mark), LIMITS.path);
  if (subject.keepQuery)
    out.text(',"query":', subject.query === "" ? undefined : subject.query, LIMITS.query);
  else if (mark >= 0 || (subject.query ?? "") !== "") out.word(',"query":', "?[redacted]");
}

function withoutUserinfo(host: string | undefined): string | undefined {
  const at = host?.lastIndexOf("@") ?? -1;
  return at < 0 ? host : `[redacted]@${host?.slice(at + 1)}`;
}

function rule(ref: RuleRef | undefined): string | undefined {
  if (ref === undefined) return undefined;
  const known = RULES.get(ref);
  if (known !== undefined) return known;
  const text = ownText(ruleText(ref));
  RULES.set(ref, text);
  return text;
}

/** Each rule is put in words once. */
const RULES = new WeakMap<RuleRef, string>();

function ruleText(ref: RuleRef): string {
  const reason = ref.reason === undefined ? "" : `,"reason":${quote(ref.reason.slice(0, LIMITS.ruleReason))}`;
  return `{"id":${quote(ref.id.slice(0, LIMITS.id))},"source":${quote(ref.source.slice(0, LIMITS.ruleSource))}${reason}}`;
}

function labels(all: Subject["labels"]): string | undefined {
  if (all === undefined) return undefined;
  const pairs = Object.entries(all).slice(0, LIMITS.labels);
  if (pairs.length === 0) return undefined;
  const told = pairs.map(
    ([name, value]) =>
      `${quote(name.slice(0, LIMITS.labelName))}:${quote(value.slice(0, LIMITS.labelValue))}`,
  );
  return `{${told.join(",")}}`;
}

let lastMs = Number.NaN;
let lastIso = "";
function isoTime(at: number): string {
  if (at !== lastMs) {
    lastIso = new Date(at).toISOString();
    lastMs = at;
  }
  return lastIso;
}
