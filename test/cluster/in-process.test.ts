// The primary and its workers in one process, over channels that are events: what each tells the other, also where the other
// does not do as it should. With processes of their own: serve.test.ts and lifecycle.test.ts.

import { EventEmitter } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Sallyport, startSallyport } from "../../src/assemble.ts";
import { runWorker } from "../../src/assemble/worker.ts";
import { type Channel, connectPrimary } from "../../src/cluster/link.ts";
import type { ToPrimary, ToWorker } from "../../src/cluster/messages.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { answers, tunnelWire, wire } from "../support/wire.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const forking = vi.hoisted(() => ({ fork: (): unknown => undefined }));
vi.mock("node:cluster", () => ({
  default: { SCHED_NONE: 1, schedulingPolicy: 0, setupPrimary: () => {}, fork: () => forking.fork() },
}));

type Drop = (message: ToPrimary | ToWorker) => boolean;

/** A worker as node:cluster shows it. `drop`: what gets lost on the way. */
class FakeChild extends EventEmitter {
  readonly process: { readonly pid: number; readonly kill: () => void };
  readonly told: ToPrimary["type"][] = [];
  readonly #channel: EventEmitter & { connected: boolean };
  #gone = false;

  constructor(pid: number, drop: Drop) {
    super();
    const channel = Object.assign(new EventEmitter(), {
      connected: true,
      send: (message: ToPrimary, _handle: unknown, _options: unknown, done: () => void) => {
        this.told.push(message.type);
        if (!drop(message)) setImmediate(() => this.emit("message", structuredClone(message)));
        done();
      },
    });
    this.#channel = channel;
    this.drop = drop;
    this.process = { pid, kill: () => this.kill() };
    void runWorker(connectPrimary(channel as unknown as Channel), {}).then(
      () => this.#exit(0, null),
      () => this.#exit(1, null),
    );
  }

  readonly drop: Drop;

  isConnected(): boolean {
    return this.#channel.connected;
  }

  send(message: ToWorker, done: () => void): void {
    if (!this.drop(message)) setImmediate(() => this.#channel.emit("message", structuredClone(message)));
    done();
  }

  kill(): void {
    if (!this.#channel.connected) return;
    this.#channel.connected = false;
    this.#channel.emit("disconnect");
    this.#exitAs ??= "SIGKILL";
  }

  #exitAs: string | undefined;

  #exit(code: number, signal: string | null): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#channel.connected = false;
    this.emit("exit", this.#exitAs === undefined ? code : null, this.#exitAs ?? signal);
  }
}

let directory: string;
let origin: RecordingOrigin;
let sallyport: Sallyport | undefined;
let children: FakeChild[];
let drop: Drop;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-in-process-"));
  const ca = createCa();
  await writeFile(join(directory, "ca.pem"), ca.cert);
  origin = await recordingOrigin(ca.issue({ names: ["a.test"] }));
  origin.behave(answerRequests(() => OK));
  children = [];
  drop = () => false;
  forking.fork = () => {
    const child = new FakeChild(1_000 + children.length, (message) => drop(message));
    children.push(child);
    return child;
  };
});
afterEach(async () => {
  await sallyport?.stop();
  sallyport = undefined;
  await origin[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function start(more = ""): Promise<Sallyport> {
  await writeFile(
    join(directory, "sallyport.yaml"),
    `
listen: 127.0.0.1:0
admin: 127.0.0.1:0
log: { level: silent }
workers: 2
limits: { drain: 1s }
upstream: { trust: [ca.pem], hosts: { a.test: [127.0.0.1] } }
policies: { default: { preset: none, methods: all, allow: [{ host: a.test, networks: [127.0.0.0/8] }] } }
sandboxes: [{ id: one, secret: secret-of-one-16, policy: default }]
anonymous: default
${more}`,
  );
  sallyport = await startSallyport({
    cwd: directory,
    env: {},
    stream: { isTTY: false, write: () => true, close: async () => {} },
  });
  return sallyport;
}

async function admin(path: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${sallyport?.admin?.port}${path}`);
  return { status: answer.status, text: await answer.text() };
}

async function trusted(): Promise<string> {
  using sandbox = await wire(sallyport?.listen[0]?.port ?? 0);
  sandbox.send("GET http://sallyport.internal/ca.pem HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
  const answer = await sandbox.until((text) => answers(text).length === 1);
  return answer.slice(answer.indexOf("-----BEGIN"));
}

async function tunnelled(): Promise<string> {
  const authority = `a.test:${origin.port}`;
  const port = sallyport?.listen[0]?.port ?? 0;
  using sandbox = await tunnelWire(port, { authority, trustAnchor: await trusted() });
  sandbox.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  return (await sandbox.until((text) => answers(text).length === 1)).slice(0, 15);
}

test("a leaf is minted by the primary and kept by the worker; numbers are gathered, also of who has ended", async () => {
  const { reload } = await start();
  expect(await tunnelled()).toBe("HTTP/1.1 200 OK");
  expect(await tunnelled()).toBe("HTTP/1.1 200 OK");
  expect(children[0]?.told.filter((type) => type === "leaf")).toHaveLength(1);
  expect((await reload("signal")).ok).toBe(true);
  expect(JSON.parse((await admin("/readyz")).text)).toMatchObject({ ready: true, generation: 2 });

  children[0]?.kill();
  await expect.poll(() => children.length).toBe(3);
  await expect.poll(async () => (await admin("/readyz")).status).toBe(200);
  const { text } = await admin("/metrics");
  expect(text).toMatch(/^sallyport_leaves_minted_total 1$/m);
  expect(text).toMatch(/^sallyport_worker_ends_total\{cause="crashed"\} 1$/m);
  expect(text).toMatch(/^sallyport_policy_generation 2$/m);
});

test("a wrong guess at one is told to the others", async () => {
  await start();
  const told: ToWorker["type"][] = [];
  drop = (message) => {
    if (message.type === "guess" && "guess" in message) told.push(message.type);
    return false;
  };
  using sandbox = await wire(sallyport?.listen[0]?.port ?? 0);
  const wrong = Buffer.from("one:secret-of-two-16").toString("base64");
  sandbox.send(`GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic ${wrong}\r\n\r\n`);
  expect(await sandbox.until((text) => answers(text).length === 1)).toContain("credentials-wrong");
  // From one to the primary, and from there to the other.
  await expect.poll(() => told.length).toBe(2);
});

test("restarted one by one", async () => {
  const { roll } = await start();
  await roll();
  expect(children).toHaveLength(4);
  expect(children.slice(0, 2).every((child) => !child.isConnected())).toBe(true);
  expect((await admin("/metrics")).text).toMatch(/^sallyport_worker_ends_total\{cause="asked"\} 2$/m);
});

test("no answer from who mints: mint-unavailable; a scrape that is not answered is counted", async () => {
  await start();
  drop = ({ type }) => type === "leaf" || type === "metrics";
  await expect(tunnelled()).rejects.toThrow();
  expect(origin.received).toBe("");
  const { status, text } = await admin("/metrics");
  expect(status).toBe(200);
  expect(text).toMatch(/^sallyport_worker_scrapes_missed_total 2$/m);
  drop = () => false;
  expect(await tunnelled()).toBe("HTTP/1.1 200 OK");
  expect((await admin("/metrics")).text).toMatch(/^sallyport_faults_total\{reason="mint-unavailable"\} 1$/m);
});

test("a worker that does not take up a configuration is replaced by one that starts with it", async () => {
  const { reload } = await start();
  // The policy as it arrives at the first worker is none.
  let spoiled = 0;
  drop = (message) => {
    if (message.type === "publish" && spoiled++ === 0) {
      const [rule] = message.settings.policies[0]?.allow ?? [];
      (rule as { host: string }).host = "*";
    }
    return false;
  };
  const outcome = await reload("signal");
  expect(outcome).toMatchObject({ ok: true, generation: 2 });
  await expect.poll(() => children.length).toBeGreaterThan(2);
  await expect.poll(async () => (await admin("/metrics")).text).toMatch(/\{cause="unresponsive"\} [12]$/m);
});

test("where one cannot listen, none does, and the start says why", async () => {
  await using taken = await recordingOrigin();
  await expect(start(`listen: 127.0.0.1:${taken.port}`.replace("listen", "presets"))).rejects.toThrow();
  await writeFile(
    join(directory, "sallyport.yaml"),
    `listen: 127.0.0.1:${taken.port}\nadmin: false\nworkers: 2\nlog: { level: silent }\n`,
  );
  await expect(startSallyport({ cwd: directory, env: {} })).rejects.toMatchObject({
    code: "EADDRINUSE",
    port: taken.port,
  });
  await expect.poll(() => children.every((child) => !child.isConnected())).toBe(true);
});
