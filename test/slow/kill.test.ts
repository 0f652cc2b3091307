// No loss: under load the proxy is killed at random moments and started again in the same directory. Whatever an origin saw
// has its decision record, the chain holds before and after recovery, and what is done to the log afterwards is found.

import { once } from "node:events";
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyAudit, type VerifyReport } from "../../src/audit/verify.ts";
import { auditRecords } from "../support/audit-records.ts";
import { type Child, launch, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { answers, tunnelWire, wire, type Wire } from "../support/wire.ts";
import { generator } from "./generator.ts";

const ROUNDS = 22;
/** Rounds that begin with a kill while it starts. */
const EARLY = [4, 9, 14, 19];
const CLIENTS = 8;
const SEED: number = Number(process.env["SALLYPORT_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const random = generator(SEED);
const ca = createCa();
const directory = await mkdtemp(join(tmpdir(), "sallyport-kill-"));
const audit = join(directory, "data", "audit");
const plain = await recordingOrigin();
const secure = await recordingOrigin(ca.issue({ names: ["origin.test"] }));

beforeAll(() => writeFile(join(directory, "origin.pem"), ca.cert));
afterAll(async () => {
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

describe("kills under load", () => {
  test(`${ROUNDS} rounds, seed ${SEED}`, async () => {
    let torn = 0;
    for (let round = 0; round < ROUNDS; round++) {
      await writeConfig(directory, config(round % 4 === 3 ? "disk" : "process"));
      if (round > 0 && random() < 0.4) torn += await tearTail();
      if (round > 0) await verified(`before recovery, round ${round}`);
      if (EARLY.includes(round)) await killedAtStart();
      const child = await startChild(directory);
      expect((await verified(`after recovery, round ${round}`)).warnings).toEqual([]);
      await killedUnderLoad(child, round);
    }
    const child = await startChild(directory);
    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    expect(await verifyAudit({ from: { directory: audit } })).toMatchObject({ ok: true, warnings: [] });

    await nothingIsLost(torn);
  });

  test.each([
    ["changed", (lines: string[], at: number): void => void (lines[at] = flipped(lines[at] ?? ""))],
    ["dropped", (lines: string[], at: number): void => void lines.splice(at, 1)],
    [
      "reordered",
      (lines: string[], at: number): void => void lines.splice(at, 2, lines[at + 1] ?? "", lines[at] ?? ""),
    ],
  ] as const)("one record %s is found and named", async (kind, change) => {
    const copy = `${directory}-${kind}`;
    await cp(audit, copy, { recursive: true });
    try {
      const names = (await readdir(copy)).filter((name) => name.endsWith(".jsonl")).toSorted();
      const file = join(copy, names[Math.floor(random() * names.length)] ?? "");
      const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
      const at = Math.floor(random() * (lines.length - 1));
      const { seq } = JSON.parse(lines[at] ?? "{}") as { seq: number };
      change(lines, at);
      await writeFile(file, lines.map((line) => `${line}\n`).join(""));
      const { ok, problem } = await verifyAudit({ from: { directory: copy } });
      expect({ ok, kind: problem?.kind, seq: problem?.seq }, `seed ${SEED}, ${file}:${at + 1}`).toEqual({
        ok: false,
        kind,
        seq,
      });
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  });
});

async function verified(when: string): Promise<VerifyReport> {
  const report = await verifyAudit({ from: { directory: audit } });
  expect(report.problem, `${when}, seed ${SEED}`).toBeUndefined();
  return report;
}

async function nothingIsLost(torn: number): Promise<void> {
  const records = await auditRecords(audit);
  const decided = new Set(
    records.flatMap((one) => (one.type === "decision" && one["verdict"] === "allow" ? [one["path"]] : [])),
  );
  const seen = [...requestsIn(plain.received), ...requestsIn(secure.received)];
  const lost = seen.filter((path) => !decided.has(path));
  expect(lost, `seed ${SEED}`).toEqual([]);
  expect(seen.length).toBeGreaterThan(ROUNDS * 10);
  const recoveries = records.filter((one) => one.type === "recovered");
  // A kill between the cut and its record leaves the cut octets' file alone.
  expect((await readdir(audit)).filter((name) => name.endsWith(".torn")).length).toBeGreaterThanOrEqual(torn);
  const ids = new Set(records.flatMap((one) => (one.type === "decision" ? [one["id"]] : [])));
  expect(records.filter((one) => one.type === "completion" && !ids.has(one["id"]))).toEqual([]);
  process.stdout.write(
    `${ROUNDS} kills under load and ${EARLY.length} at start, seed ${SEED}: the origins saw ${seen.length} requests, ` +
      `${lost.length} without a record; ${records.length} records, ${recoveries.length} recoveries, ${torn} torn tails sealed\n`,
  );
}

async function killedAtStart(): Promise<void> {
  const child = launch(directory);
  const closed = once(child, "close");
  child.stderr?.resume();
  setTimeout(() => child.kill("SIGKILL"), random() * 600);
  await closed;
}

async function killedUnderLoad(child: Child, round: number): Promise<void> {
  const trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const clients = Array.from({ length: CLIENTS }, (_, client) =>
    load(child, { trustAnchor, tunnelled: client % 2 === 1, name: `${round}-${client}` }).catch(() => {}),
  );
  // Not before something was answered; then any moment is as good.
  await plain.arrived((received) => received.includes(`/${round}-0-1 `));
  setTimeout(() => child.signal("SIGKILL"), random() * 400);
  expect(await child.ended).toBe("SIGKILL");
  await Promise.all(clients);
}

type Load = { readonly trustAnchor: string; readonly tunnelled: boolean; readonly name: string };

/** One request after another, every fourth with a body, until the proxy is gone. */
async function load(child: Child, { trustAnchor, tunnelled, name }: Load): Promise<void> {
  const authority = `origin.test:${(tunnelled ? secure : plain).port}`;
  using client: Wire = tunnelled
    ? await tunnelWire(child.port, { authority, trustAnchor })
    : await wire(child.port);
  for (let count = 1; client.open; count++) {
    const path = `/${name}-${count}`;
    const target = tunnelled ? path : `http://${authority}${path}`;
    const [method, body] = count % 4 === 0 ? ["POST", "Content-Length: 4\r\n\r\nbody"] : ["GET", "\r\n"];
    client.send(`${method} ${target} HTTP/1.1\r\nHost: ${authority}\r\n${body}`);
    await client.until((received) => answers(received).length >= count);
  }
}

/** Half a record at the end of the last segment, as a cut write would leave it; none where the kill came before its first. */
async function tearTail(): Promise<0 | 1> {
  const last = (await readdir(audit))
    .filter((name) => name.endsWith(".jsonl"))
    .toSorted()
    .at(-1);
  if (last === undefined) return 0;
  const text = await readFile(join(audit, last), "utf8");
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  if (line === "") return 0;
  await appendFile(join(audit, last), line.slice(0, 1 + Math.floor(random() * (line.length - 1))));
  return 1;
}

function requestsIn(received: string): string[] {
  return [...received.matchAll(/^(?:body)?(?:GET|POST) (\/\S+) HTTP/gm)].map(([, path]) => path ?? "");
}

/** One bit of one octet inside the record. */
function flipped(line: string): string {
  const at: number = 1 + Math.floor(random() * (line.length - 2));
  return line.slice(0, at) + String.fromCharCode(line.charCodeAt(at) ^ 1) + line.slice(at + 1);
}

function config(durability: string): string {
  return `
audit: { durability: ${durability}, rotate: { size: 64KiB } }
upstream: { hosts: { origin.test: [127.0.0.1] }, trust: [origin.pem] }
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`;
}
