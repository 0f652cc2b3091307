// A proxy of two workers as a process of its own, with an origin, load on it, and a way to tell who served what.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AuditRecord, auditRecords } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";

export type Cluster = AsyncDisposable & {
  readonly directory: string;
  readonly audit: string;
  readonly child: Child;
  readonly trustAnchor: string;
  /** HTTP and HTTPS. */
  readonly origin: RecordingOrigin;
  readonly secureOrigin: RecordingOrigin;
  /** Of the workers that were started, in the order of their start. */
  pids(): number[];
  /** Of every chain, the primary's first. */
  records(): Promise<AuditRecord[]>;
  admin(path: string): Promise<{ status: number; text: string }>;
  reconfigure(changes: Changes): Promise<void>;
};

export type Changes = {
  readonly hosts?: string;
  readonly more?: string;
  readonly workers?: string;
  readonly budgets?: string;
};

export async function startCluster(changes: Changes = {}): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-cluster-"));
  const ca = createCa();
  await writeFile(join(directory, "ca.pem"), ca.cert);
  const origin = await recordingOrigin();
  const secureOrigin = await recordingOrigin(ca.issue({ names: ["a.test"] }));
  for (const one of [origin, secureOrigin]) one.behave(answerRequests(() => OK));
  await writeConfig(directory, config(changes));
  const child = await startChild(directory);
  const audit = join(directory, "data", "audit");
  return {
    directory,
    audit,
    child,
    trustAnchor: await readFile(join(directory, "certs", "ca.pem"), "utf8"),
    origin,
    secureOrigin,
    pids: () =>
      child.log.flatMap((line) => {
        const pid = /"pid":(\d+),"msg":"a worker serves"/.exec(line)?.[1];
        return pid === undefined ? [] : [Number(pid)];
      }),
    records: () => allRecords(audit),
    async admin(path) {
      const answer = await fetch(`http://127.0.0.1:${child.adminPort}${path}`);
      return { status: answer.status, text: await answer.text() };
    },
    reconfigure: (next) => writeConfig(directory, config(next)),
    async [Symbol.asyncDispose]() {
      child.signal("SIGKILL");
      await child.ended;
      await origin[Symbol.asyncDispose]();
      await secureOrigin[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

function config({ hosts = "a.test, b.test", more = "", workers = "2", budgets = "" }: Changes): string {
  const allow = hosts.split(", ").map((host) => `{ host: ${host}, networks: [127.0.0.0/8] }`);
  return `
workers: ${workers}
upstream: { trust: [ca.pem], hosts: { a.test: [127.0.0.1], b.test: [127.0.0.1] } }
policies: { default: { preset: none, methods: all, allow: [${allow.join(", ")}]${budgets === "" ? "" : `, budgets: { ${budgets} }`} } }
sandboxes: [{ id: one, secret: secret-of-one-16, policy: default }]
anonymous: default
${more}
`;
}

export async function allRecords(audit: string): Promise<AuditRecord[]> {
  const names = (await readdir(audit)).filter((name) => name.startsWith("worker-")).toSorted();
  const chains = await Promise.all(["", ...names].map((name) => auditRecords(join(audit, name))));
  return chains.flat();
}

/** `1` or `2`: the worker that accepted the connection that a record is about. */
export function workerOf(record: AuditRecord | undefined): string {
  return /^(\d+)-/.exec(String(record?.["connection"]))?.[1] ?? "none";
}

export type Outcome = { answered: number; refused: number; cut: number };

/** Requests on connections of their own, in so many lanes, until `enough`; what became of them. */
export async function load(
  port: number,
  target: string,
  { lanes = 8, enough }: { readonly lanes?: number; readonly enough: (outcome: Outcome) => boolean },
): Promise<Outcome> {
  const outcome: Outcome = { answered: 0, refused: 0, cut: 0 };
  const lane = async (): Promise<void> => {
    while (!enough(outcome)) outcome[await request(port, target)]++;
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return outcome;
}

function request(port: number, target: string): Promise<keyof Outcome> {
  return new Promise((resolve) => {
    let connected = false;
    let text = "";
    const socket = connect({ port, host: "127.0.0.1" }, () => {
      connected = true;
      socket.write(`GET ${target} HTTP/1.1\r\nHost: ${new URL(target).host}\r\nConnection: close\r\n\r\n`);
    });
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () =>
      resolve(!connected ? "refused" : text.startsWith("HTTP/1.1 200 ") ? "answered" : "cut"),
    );
  });
}
