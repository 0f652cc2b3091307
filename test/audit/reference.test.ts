import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { auditRecordJsonSchema, renderAuditReference } from "../../src/audit/reference.ts";
import { openAudit } from "../../src/audit/log.ts";
import { temporaryDirectory } from "./directory.ts";
import { exchange, lines } from "./helpers.ts";

// docs/audit-record.schema.json and docs/audit.md are held to these by test/config/generated.test.ts.

test("each type of record has its closed schema and its table", () => {
  const all = auditRecordJsonSchema()["oneOf"] as { properties: { type: { const: string } } }[];
  const types = all.map((one) => one.properties.type.const);
  expect(types).toEqual([
    "decision",
    "completion",
    "start",
    "stop",
    "reload",
    "worker",
    "control",
    "recovered",
    "segment",
    "checkpoint",
  ]);
  for (const one of all) expect(one).toMatchObject({ type: "object", additionalProperties: false });
  for (const type of types) expect(renderAuditReference()).toContain(`### \`${type}\``);
});

test("the chain can be followed with the shell, as the docs say", async () => {
  const directory = await temporaryDirectory();
  const audit = await openAudit({ directory, durability: "process" });
  await exchange(audit);
  await audit.close();
  let previous = "A".repeat(43);
  for (const line of (await lines(directory)).slice(0, 3)) {
    const script = `printf '%s%s' "$previous_hash" "\${line%,\\"hash\\":*}" | openssl dgst -sha256 -binary | basenc --base64url`;
    const env = { ...process.env, previous_hash: previous, line };
    const digest = execFileSync("sh", ["-c", script], { env, encoding: "utf8" }).trim();
    previous = (JSON.parse(line) as { hash: string }).hash;
    expect(digest).toBe(`${previous}=`);
  }
});
