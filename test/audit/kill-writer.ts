// Writes exchanges as fast as it can and says which were acknowledged, until it is killed. Started by kill.test.ts.

import { writeSync } from "node:fs";
import { openAudit } from "../../src/audit/log.ts";
import { ALLOW, DONE, SUBJECT } from "./helpers.ts";

const directory = process.argv[2] ?? "";
const durability = process.argv[3] === "disk" ? "disk" : "process";
const audit = await openAudit({
  directory,
  durability,
  rotate: { octets: 60_000 },
  limits: { checkpointRecords: 20 },
});

async function run(): Promise<void> {
  for (;;) {
    const entry = audit.begin(SUBJECT);
    await entry.decide(ALLOW);
    writeSync(1, `${entry.id}\n`);
    entry.complete(DONE);
  }
}

await Promise.all(Array.from({ length: 8 }, run));
