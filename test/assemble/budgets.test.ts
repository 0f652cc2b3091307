// Two replicas and one PostgreSQL: a budget of N octets passes no more than N through both under load, and where the database is
// lost what was drawn is spent, then nothing passes until it is back.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { createCa } from "../support/pki.ts";
import { NO_POSTGRES, type Postgres, startPostgres } from "../support/postgres.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { type Answer, dialPort } from "../proxy/wire.ts";

const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:9" };

describe.skipIf(NO_POSTGRES !== undefined)(NO_POSTGRES ?? "two replicas, one PostgreSQL", () => {
  let postgres: Postgres;
  let origin: RecordingOrigin;
  let database: string;
  let replicas: RunningSallyport[] = [];

  beforeAll(async () => {
    postgres = await startPostgres();
    origin = await recordingOrigin();
    origin.behave(answerRequests(() => OK));
    const store = await postgres.database();
    database = new URL(store).pathname.slice(1);
    const trust = await trustFile(createCa());
    const yaml = `
store: "${store}"
upstream: { trust: [${trust}], hosts: { one.test: [127.0.0.1] } }
limits: { drain: 1s }
policies:
  default:
    preset: none
    methods: all
    allow: [{ host: one.test, networks: [127.0.0.0/8] }]
    budgets: { upload: 512KiB, connections: 4, hosts: 1 }
  free: { preset: none, methods: all, allow: [{ host: one.test, networks: [127.0.0.0/8] }], budgets: { upload: 1MiB } }
`;
    replicas = [await runSallyport(yaml), await runSallyport(yaml)];
  });
  afterAll(async () => {
    for (const replica of replicas) await replica[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
    await postgres.destroy();
  });

  async function register(id: string, policy: string): Promise<string> {
    const [first, second] = replicas.map(({ sallyport }) => sallyport.control);
    const registered = await first?.register(RUNTIME, {
      id,
      policies: { setup: policy, agent: policy },
      phase: "agent",
      labels: {},
    });
    while (second?.sandbox(id) === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    const basic = Buffer.from(`${id}:${registered?.secret}`).toString("base64");
    return `Proxy-Authorization: Basic ${basic}\r\n`;
  }

  async function post(replica: number, fields: string, octets: number): Promise<Answer> {
    await using wire = await dialPort(replicas[replica]?.port ?? 0);
    const authority = `one.test:${origin.port}`;
    wire.write(
      `POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${fields}Content-Length: ${octets}\r\n\r\n${"u".repeat(octets)}`,
    );
    return await wire.answer("POST");
  }

  /** Less the field of the length, which the proxy writes. */
  const uploaded = (): number => origin.received.replaceAll(/Content-Length: \d+\r\n/gi, "").length;

  test("a budget of N octets passes no more than N through both, and leaves no more than their chunks", async () => {
    const LIMIT = 512 * 1024;
    const fields = await register("shared", "default");
    origin.reset();
    const statuses = new Map<number, number>();
    const lane = async (replica: number): Promise<void> => {
      while ((statuses.get(429) ?? 0) < 200 || uploaded() < LIMIT - 6 * (LIMIT / 64)) {
        const { status } = await post(replica, fields, 4_000);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        expect([200, 429]).toContain(status);
      }
    };
    await Promise.all([0, 1, 0, 1, 0, 1].map(lane));
    expect(uploaded()).toBeLessThanOrEqual(LIMIT);
    const views = await replicas[1]?.sallyport.control.budgets("shared");
    expect(views?.find(({ name }) => name === "upload")).toMatchObject({ limit: LIMIT });
    expect(views?.find(({ name }) => name === "hosts")).toMatchObject({ spent: 1 });
  }, 60_000);

  test("its counters end with a sandbox, and late draws begin none anew", async () => {
    const fields = await register("ending", "free");
    expect((await post(1, fields, 1_000)).status).toBe(200);
    await replicas[0]?.sallyport.control.end(RUNTIME, "ending", "done");
    const until = async (): Promise<number> => {
      const rows = await postgres.sql(database, "SELECT counter, until FROM sallyport.counters");
      return Number(
        rows.find(({ counter }) => String(counter) === "budget sandbox ending upload * 0")?.["until"],
      );
    };
    while ((await until()) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await until()).toBeLessThanOrEqual(Date.now());
    // What the replica still held goes back a few seconds later, or would.
    expect((await post(1, fields, 10)).status).toBe(407);
  });

  test("a lost database: what was drawn is spent, then 503; nothing of it leaves; and it recovers by itself", async () => {
    const fields = await register("outage", "free");
    expect((await post(0, fields, 10)).status).toBe(200);
    await postgres.stop();
    origin.reset();
    let last = await post(0, fields, 3_000);
    let tries = 0;
    while (last.status === 200 && ++tries < 100) last = await post(0, fields, 3_000);
    expect([last.status, last.field("sallyport-reason")]).toEqual([503, "budget-unavailable"]);
    // One chunk of 16 KiB.
    expect(uploaded()).toBeLessThanOrEqual(16 * 1024);
    await postgres.start();
    for (;;) {
      const { status } = await post(0, fields, 10);
      if (status === 200) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }, 60_000);
});
