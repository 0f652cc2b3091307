// Two replicas and one PostgreSQL: what is said to one holds in the other within a second, also for what is open there.

import type { Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { trustFile } from "../proxy/trust-file.ts";
import { dialPort, openTunnel, Wire } from "../proxy/wire.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { NO_POSTGRES, type Postgres, startPostgres } from "../support/postgres.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";

const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:1" };
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

describe.skipIf(NO_POSTGRES !== undefined)(NO_POSTGRES ?? "two replicas, one PostgreSQL", () => {
  let ca: Issued;
  let postgres: Postgres;
  let plain: RecordingOrigin;
  let secure: RecordingOrigin;
  let first: RunningSallyport;
  let second: RunningSallyport;
  let turn = 0;
  let id: string;
  let authorization: string;

  beforeAll(async () => {
    ca = createCa();
    postgres = await startPostgres();
    plain = await recordingOrigin();
    secure = await recordingOrigin(ca.issue({ names: ["one.test", "unread.test"] }));
    const rule = (host: string): string => `{ host: ${host}, networks: [127.0.0.0/8] }`;
    const yaml = `
store: "${await postgres.database()}"
upstream: { trust: [${await trustFile(ca)}], hosts: { one.test: [127.0.0.1], unread.test: [127.0.0.1] } }
limits: { drain: 1s }
policies:
  setup: { preset: none, methods: all, allow: [${rule("one.test")}, ${rule("unread.test")}], splice: [unread.test] }
  agent: { preset: none }
`;
    first = await runSallyport(yaml);
    second = await runSallyport(yaml);
  }, 60_000);
  afterAll(async () => {
    for (const each of [first, second, plain, secure]) await each[Symbol.asyncDispose]();
    await postgres.destroy();
  });
  beforeEach(async () => {
    plain.behave(stream);
    secure.behave(stream);
    id = `task-${++turn}`;
    const policies = { setup: "setup", agent: "agent" };
    const { secret } = await first.sallyport.control.register(OPERATOR, {
      id,
      policies,
      phase: "setup",
      labels: {},
    });
    authorization = `Proxy-Authorization: Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}\r\n`;
    await expect
      .poll(() => second.sallyport.control.sandbox(id)?.phase, { timeout: 1_000, interval: 10 })
      .toBe("setup");
    // Where the case before locked all down, its lift has to be known there, too: a registration comes after it.
  });

  async function request(proxy: RunningSallyport, fields = ""): Promise<Wire> {
    const wire = await dialPort(proxy.port);
    const authority = `one.test:${plain.port}`;
    wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${authorization}${fields}\r\n`);
    return await begun(wire);
  }

  async function inTunnel(proxy: RunningSallyport, host: string, fields = ""): Promise<Wire> {
    const wire = await openTunnel({
      port: proxy.port,
      target: `${host}:${secure.port}`,
      headers: authorization,
      tls: { ca: [proxy.trustAnchor, ca.cert], servername: host },
    });
    if (!(wire instanceof Wire)) throw new Error("no tunnel");
    wire.write(`GET / HTTP/1.1\r\nHost: ${host}:${secure.port}\r\n${fields}\r\n`);
    return await begun(wire);
  }

  const WAYS = [
    { way: "a streaming answer", open: (proxy: RunningSallyport) => request(proxy) },
    { way: "a WebSocket", open: (proxy: RunningSallyport) => request(proxy, UPGRADE) },
    { way: "an intercepted tunnel", open: (proxy: RunningSallyport) => inTunnel(proxy, "one.test") },
    { way: "a spliced tunnel", open: (proxy: RunningSallyport) => inTunnel(proxy, "unread.test") },
  ] as const;

  const ORDERS = [
    { order: "the move to agent", give: () => first.sallyport.control.move(OPERATOR, id, "agent") },
    { order: "its lockdown", give: () => first.sallyport.control.lockDown(OPERATOR, id, "incident") },
    { order: "the lockdown of all", give: () => first.sallyport.control.lockDown(OPERATOR, "*", "incident") },
    { order: "its end", give: () => first.sallyport.control.end(OPERATOR, id, "done") },
  ] as const;

  describe.each(ORDERS)("$order, said to one, cuts in both", ({ order, give }) => {
    test.each(WAYS)("$way", async ({ open }) => {
      await using here = await open(first);
      await using there = await open(second);
      const before = performance.now();
      try {
        await give();
        await Promise.all([here.until(() => false), there.until(() => false)]);
        expect([here.closed || here.ended, there.closed || there.ended]).toEqual([true, true]);
        expect(performance.now() - before).toBeLessThan(1_000);
        // Nothing new passes where the order was not given, either.
        plain.reset();
        await using late = await dialPort(second.port);
        const authority = `one.test:${plain.port}`;
        late.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`);
        expect([403, 407]).toContain((await late.answer()).status);
        expect(plain.received).toBe("");
      } finally {
        if (order === "the lockdown of all") await first.sallyport.control.lift(OPERATOR, "*", "over");
      }
    });
  });
});

async function begun(wire: Wire): Promise<Wire> {
  await wire.until(() => wire.all.endsWith("hello"));
  expect(wire.all).toMatch(/hello$/);
  return wire;
}

/** Upgrades whoever asks, else begins an answer that goes on. */
function stream(socket: Socket): void {
  socket.once("data", (chunk: Buffer) => {
    socket.write(
      chunk.includes("Upgrade:")
        ? "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        : "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello",
    );
  });
}
