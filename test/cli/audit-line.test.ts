import { expect, test } from "vitest";

import { auditJson, auditLine } from "../../src/cli/audit-line.ts";
import type { AuditRecord } from "../../src/audit/schema.ts";

const common = { v: 1, seq: 7, at: "2026-11-22T08:00:00.123Z", writer: "w", hash: "A".repeat(43) } as const;
const decision = {
  ...common,
  type: "decision",
  id: "id-1",
  kind: "request",
  connection: "c-1",
  sandbox: "ci",
  method: "GET",
  scheme: "https",
  host: "a.example",
  port: 443,
  path: "/x",
  verdict: "allow",
} satisfies AuditRecord;
const plain = (record: AuditRecord) => auditLine(record, (_style, text) => text);

test.each<[record: AuditRecord, line: string]>([
  [decision, "allow   ci  GET https://a.example/x  id-1"],
  [
    {
      ...decision,
      verdict: "deny",
      reason: "host-denied",
      rule: { id: "deny[0]", source: "sallyport.yaml:4:7" },
    },
    "deny    ci  GET https://a.example/x  host-denied  deny[0] (sallyport.yaml:4:7)  id-1",
  ],
  [
    { ...decision, wouldDeny: { reason: "host-not-allowed" } },
    "report  ci  GET https://a.example/x  host-not-allowed  id-1",
  ],
  [
    { ...decision, verdict: "fault", reason: "dns-failed", port: 8443, query: "?[redacted]" },
    "fault   ci  GET https://a.example:8443/x?[redacted]  dns-failed  id-1",
  ],
  [
    { ...common, type: "decision", id: "i", kind: "malformed", connection: "c", verdict: "fault" },
    "fault   -  malformed -  i",
  ],
  [
    {
      ...common,
      type: "decision",
      id: "i",
      kind: "connect",
      method: "CONNECT",
      host: "2001:db8::1",
      port: 443,
      connection: "c",
      verdict: "deny",
    },
    "deny    -  CONNECT [2001:db8::1]:443  i",
  ],
  [
    {
      ...common,
      type: "completion",
      id: "i",
      outcome: "refused",
      status: 403,
      reason: "host-denied",
      bytesUp: 0,
      bytesDown: 812,
      msTotal: 1.6,
    },
    "end     refused 403 host-denied  0 B up, 812 B down  2 ms  i",
  ],
  [{ ...common, type: "reload", fields: { generation: 4, valid: true } }, "reload  generation=4 valid=true"],
  [{ ...common, type: "recovered", cause: "failure", fault: "ENOSPC" }, "recovered  failure ENOSPC"],
  [{ ...common, type: "checkpoint", of: 6, signature: "s" }, "signed up to record 6"],
])("%#", (record, line) => {
  expect(plain(record)).toBe(`2026-11-22 08:00:00Z  ${line}`);
});

test("nothing that a terminal acts on gets through", () => {
  const hostile = { ...decision, path: "/\u001B[2J\u202Eevil\n\u2028\uD800", sandbox: "\u0007" };
  expect(plain(hostile)).toBe(
    "2026-11-22 08:00:00Z  allow   \\u{7}  GET https://a.example/\\u{1b}[2J\\u{202e}evil\\u{a}\\u{2028}\\u{d800}  id-1",
  );
  expect(auditJson(hostile)).toMatch(/^[\x20-\x7E]+$/);
  expect(JSON.parse(auditJson(hostile))).toEqual(hostile);
});
