// What an audit record costs: serialising, writing (asynchronously and synchronously, by load), verifying.
// Usage: node bench/audit.ts [directory]. Prints Markdown; figures are kept in docs/decisions/.

import { writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { nodeFileSystem, type FileSystem } from "../src/audit/files.ts";
import { openAudit } from "../src/audit/log.ts";
import { decisionBody, GENESIS, seal } from "../src/audit/record.ts";
import type { CompletionFields, DecisionFields, Subject } from "../src/audit/types.ts";
import { verifyAudit } from "../src/audit/verify.ts";

const SUBJECT: Subject = {
  kind: "request",
  tunnel: "6f1c2f0e-6a53-4d0c-a3bb-2a4d6cf9f3a1",
  connection: "0f4c5a9e-31c7-4ff7-9f0e-19a3d6ad1a52",
  source: "10.0.3.17:40312",
  sandbox: "ci-runner",
  phase: "agent",
  policy: "default",
  generation: 3,
  method: "GET",
  scheme: "https",
  host: "registry.example.org",
  port: 443,
  path: "/@scope/some-package/-/some-package-1.2.3.tgz",
  query: undefined,
  keepQuery: false,
};
const ALLOW: DecisionFields = {
  verdict: "allow",
  stage: "address",
  reason: undefined,
  rule: { id: "preset:npm", source: "preset:npm" },
  preset: "npm",
  handling: "intercept",
  wouldDeny: undefined,
  addresses: ["192.0.2.1", "2001:db8::1"],
};
const DONE: CompletionFields = {
  outcome: "completed",
  reason: undefined,
  status: 200,
  address: "192.0.2.1",
  bytesUp: 312,
  bytesDown: 48_123,
  msTotal: 41.25,
  msOrigin: 32.5,
};

const syncFiles: FileSystem = { ...nodeFileSystem, write: async (fd, data) => writeSync(fd, data) };

function serialising(): void {
  const time = (name: string, run: () => unknown) => {
    for (let index = 0; index < 20_000; index++) run();
    const start = performance.now();
    for (let index = 0; index < 100_000; index++) run();
    console.log(`| ${name} | ${((performance.now() - start) / 100).toFixed(2)} |`);
  };
  const options = { at: Date.now(), privacy: "standard" } as const;
  console.log("| One decision record | µs |\n|---|---|");
  time("fields by hand", () => decisionBody("id", SUBJECT, ALLOW, options).text);
  time("JSON.stringify of the same object (no bounds, no ASCII)", () =>
    JSON.stringify({ type: "decision", id: "id", ...SUBJECT, ...ALLOW }),
  );
  const body = decisionBody("id", SUBJECT, ALLOW, options);
  time("number, time and SHA-256", () => seal(GENESIS, "w", body));
}

async function writing(name: string, files: FileSystem, concurrent: number): Promise<void> {
  const directory = await mkdtemp(
    join(process.argv.slice(2).find((arg) => !arg.startsWith("--")) ?? tmpdir(), "sallyport-bench-"),
  );
  const durability = name === "disk" ? "disk" : "process";
  let batches = 0;
  const audit = await openAudit({ directory, durability, files, on: { batch: () => batches++ } });
  const total = durability === "disk" ? 4_000 : 40_000;
  const latencies: number[] = [];
  let left = total;
  const worker = async () => {
    while (left-- > 0) {
      const entry = audit.begin(SUBJECT);
      const start = performance.now();
      await entry.decide(ALLOW);
      latencies.push(performance.now() - start);
      entry.complete(DONE);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: concurrent }, worker));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await audit.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(3);
  const perExchange = ((user + system) / total).toFixed(1);
  const size = (total * 2) / batches;
  console.log(
    `| ${name} | ${concurrent} | ${perExchange} | ${at(0.5)} | ${at(0.99)} | ${size.toFixed(1)} | ${Math.round(total / seconds)} |`,
  );
  if (name === "async" && concurrent === 128) await verifying(directory);
  await rm(directory, { recursive: true });
}

let verified = "";
async function verifying(directory: string): Promise<void> {
  const start = performance.now();
  const { records, ok } = await verifyAudit({ from: { directory } });
  const rate = Math.round(records / ((performance.now() - start) / 1000));
  verified = `Verifying: ${rate} records/s (${records} records, ok: ${ok}), ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB resident.`;
}

console.log(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}\n`);
serialising();
console.log(
  "\n| Writes | Exchanges at once | CPU µs an exchange | decide() p50 ms | p99 ms | Records a batch | Exchanges/s |",
);
console.log("|---|---|---|---|---|---|---|");
for (const concurrent of [1, 16, 128]) {
  await writing("async", nodeFileSystem, concurrent);
  await writing("sync", syncFiles, concurrent);
  await writing("disk", nodeFileSystem, concurrent);
}
console.log(`\n${verified}`);
