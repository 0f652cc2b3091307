// Subjects, fields and readers that the audit tests share.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { AuditRecord } from "../../src/audit/schema.ts";
import type { Audit, CompletionFields, DecisionFields, Subject } from "../../src/audit/types.ts";

export const SUBJECT: Subject = {
  kind: "request",
  tunnel: "t-1",
  connection: "c-1",
  source: "127.0.0.1:40000",
  sandbox: "ci-runner",
  phase: "agent",
  policy: "default",
  generation: 3,
  method: "GET",
  scheme: "https",
  host: "registry.example",
  port: 443,
  path: "/left-pad",
  query: "?token=s3cret",
  keepQuery: false,
};

export const ALLOW: DecisionFields = {
  verdict: "allow",
  stage: "address",
  reason: undefined,
  rule: { id: "preset:npm", source: "preset:npm" },
  preset: "npm",
  handling: "intercept",
  wouldDeny: undefined,
  addresses: ["192.0.2.1"],
};

export const DENY: DecisionFields = {
  verdict: "deny",
  stage: "request",
  reason: "method-not-allowed",
  rule: { id: "default", source: "sallyport.yaml:3:1", reason: "no sending" },
  preset: undefined,
  handling: undefined,
  wouldDeny: undefined,
  addresses: undefined,
};

export const DONE: CompletionFields = {
  outcome: "completed",
  reason: undefined,
  status: 200,
  address: "192.0.2.1",
  bytesUp: 120,
  bytesDown: 4096,
  msTotal: 12.3456,
  msOrigin: 8,
};

/** One exchange, decided and completed. */
export async function exchange(audit: Audit, subject: Partial<Subject> = {}): Promise<string> {
  const entry = audit.begin({ ...SUBJECT, ...subject });
  await entry.decide(ALLOW);
  entry.complete(DONE);
  return entry.id;
}

export async function segments(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(".jsonl"));
  return names.sort().map((name) => join(directory, name));
}

export async function lines(directory: string): Promise<string[]> {
  const texts = await Promise.all((await segments(directory)).map((path) => readFile(path, "utf8")));
  return texts.flatMap((text) => text.split("\n").filter((line) => line !== ""));
}

export async function records(directory: string): Promise<AuditRecord[]> {
  return (await lines(directory)).map((line) => JSON.parse(line) as AuditRecord);
}
