// Two replicas and one PostgreSQL: what is said to one holds in the other within a second, also for what is open there.

import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { dialPort, openTunnel, Wire } from "../proxy/wire.ts";
import { NO_POSTGRES, type Postgres, startPostgres } from "../support/postgres.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { twoOrigins } from "../support/two-origins.ts";

const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:1" };
const BUDGET = 60;
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

const { ca, plain, secure, upstream } = await twoOrigins(["one.test", "unread.test"], { behaviour: stream });

describe.skipIf(NO_POSTGRES !== undefined)(NO_POSTGRES ?? "two replicas, one PostgreSQL", () => {
  let postgres: Postgres;
  let first: RunningSallyport;
  let second: RunningSallyport;
  let turn = 0;
  let id: string;
  let authorization: string;

  beforeAll(async () => {
    postgres = await startPostgres();
    const rule = (host: string): string => `{ host: ${host}, networks: [127.0.0.0/8] }`;
    const yaml = `
store: "${await postgres.database()}"
${upstream}
limits: { drain: 1s }
policies:
  setup: { preset: none, methods: all, allow: [${rule("one.test")}, ${rule("unread.test")}], splice: [unread.test] }
  agent: { preset: none }
  metered: { preset: none, methods: all, allow: [${rule("one.test")}], budgets: { requests: ${BUDGET} } }
  asking: { preset: none, ask: refuse, allow: [{ host: one.test, methods: [HEAD], networks: [127.0.0.0/8] }] }
`;
    first = await runSallyport(yaml);
    second = await runSallyport(yaml);
  }, 60_000);
  afterAll(async () => {
    for (const each of [first, second]) await each[Symbol.asyncDispose]();
    await postgres.destroy();
  });
  beforeEach(async () => {
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

  test.each(["stop", "kill"] as const)(
    "the database (%s) is lost under load and comes back: nothing answered is lost, nothing is allowed that should not be",
    async (way) => {
      plain.behave((socket) => {
        socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
      });
      const lockedDown = `locked-${way}`;
      const policies = { setup: "setup", agent: "agent" };
      const registration = { policies, phase: "setup", labels: {} } as const;
      const { secret } = await first.sallyport.control.register(OPERATOR, {
        ...registration,
        id: lockedDown,
      });
      await first.sallyport.control.lockDown(OPERATOR, lockedDown, "incident");
      const locked = Buffer.from(`${lockedDown}:${secret}`).toString("base64");
      await expect.poll(() => second.sallyport.control.sandbox(lockedDown)?.lockdown).toBe("incident");

      const over = new AbortController();
      let refusedActions = 0;
      let number = 0;
      const answered: string[] = [];
      const wrong: string[] = [];
      const passed = { before: 0, meanwhile: 0 };
      let lost = false;
      const moved: { readonly name: string; readonly by: RunningSallyport; readonly fields: string }[] = [];
      const decided: string[] = [];
      const quick: string[] = [];
      const metered = { fields: "", passed: 0 };
      const asking = await registerAs(`asking-${way}`, "asking");
      metered.fields = await registerAs(`metered-${way}`, "metered");
      for (const name of [`asking-${way}`, `metered-${way}`])
        await expect.poll(() => second.sallyport.control.sandbox(name)?.state).toBe("active");
      const moves = async (by: RunningSallyport): Promise<void> => {
        while (!over.signal.aborted) {
          const name = `${way}-moved-${++number}`;
          try {
            const fields = await registerAs(name, "setup", by);
            await by.sallyport.control.move(OPERATOR, name, "agent");
            moved.push({ name, by, fields });
            // By whom it was answered it holds from then on, whatever becomes of the database.
            const status = await ask(by.port, fields);
            if (status !== 403) wrong.push(`moved ${status}`);
          } catch {
            await pause(20);
          }
          await pause(5);
        }
      };
      const spends = async ({ port }: RunningSallyport): Promise<void> => {
        while (!over.signal.aborted) {
          const status = await ask(port, metered.fields);
          if (status === 200) metered.passed++;
          else if (status !== 429 && status !== 503) wrong.push(`metered ${status}`);
          await pause(10);
        }
      };
      const approves = async (by: RunningSallyport): Promise<void> => {
        for (let path = 0; !over.signal.aborted; path++) {
          const status = await ask(by.port, asking, `/${by.port}-${path}`);
          // Somebody was quicker than the answer; else it is a hole.
          if (status === 200) quick.push(`/${by.port}-${path}`);
          else if (status !== 403 && status !== 503) wrong.push(`asking ${status}`);
          const open = second.sallyport.control.approvals().filter(({ state }) => state === "pending");
          for (const { id: approval } of open)
            try {
              const decision = { action: "allow", scope: "once", reason: "a test" } as const;
              await second.sallyport.control.decideApproval(OPERATOR, approval, decision);
              decided.push(approval);
            } catch {
              await pause(20);
            }
          await pause(50);
        }
      };
      const registers = async ({ sallyport }: RunningSallyport): Promise<void> => {
        while (!over.signal.aborted) {
          const name = `${way}-${++number}`;
          try {
            await sallyport.control.register(OPERATOR, { ...registration, id: name });
            answered.push(name);
          } catch {
            refusedActions++;
            await pause(20);
          }
          await pause(2);
        }
      };
      const asks = async ({ port }: RunningSallyport): Promise<void> => {
        while (!over.signal.aborted) {
          const known = await ask(port, authorization);
          if (known === 200) passed[lost ? "meanwhile" : "before"]++;
          const status = await ask(port, `Proxy-Authorization: Basic ${locked}\r\n`);
          if (status !== 403) wrong.push(`locked ${status}`);
        }
      };
      const load = Promise.all(
        [registers, asks, moves, spends, approves].flatMap((run) => [run(first), run(second)]),
      );
      try {
        await pause(300);
        await postgres[way]();
        lost = true;
        await expect.poll(() => refusedActions, { timeout: 20_000 }).toBeGreaterThan(1);
        await expect.poll(() => second.metrics(), { timeout: 10_000 }).toContain("sallyport_store_healthy 0");
        const ready = await fetch(`http://127.0.0.1:${second.adminPort}/readyz`);
        expect(await ready.json()).toMatchObject({ ready: true, store: "failing" });
        await postgres.start();
        await expect.poll(() => first.metrics(), { timeout: 10_000 }).toContain("sallyport_store_healthy 1");
        await expect.poll(() => second.metrics(), { timeout: 10_000 }).toContain("sallyport_store_healthy 1");
        const until = answered.length;
        await expect.poll(() => answered.length, { timeout: 10_000 }).toBeGreaterThan(until);
      } finally {
        over.abort();
        await load;
      }

      expect(wrong).toEqual([]);
      expect(passed.before).toBeGreaterThan(0);
      expect(passed.meanwhile).toBeGreaterThan(0);
      expect(first.sallyport.control.sandbox(id)?.state).toBe("active");
      for (const { sallyport } of [first, second])
        await expect
          .poll(() => answered.filter((name) => sallyport.control.sandbox(name) === undefined), {
            timeout: 2_000,
          })
          .toEqual([]);
      for (const { sallyport, port } of [first, second]) {
        await expect
          .poll(() => moved.filter(({ name }) => sallyport.control.sandbox(name)?.phase !== "agent"), {
            timeout: 2_000,
          })
          .toEqual([]);
        for (const { fields } of moved.slice(-5)) expect(await ask(port, fields)).toBe(403);
      }
      expect(moved.length).toBeGreaterThan(1);
      expect(metered.passed).toBeGreaterThan(0);
      expect(metered.passed).toBeLessThanOrEqual(BUDGET);
      expect(decided.length).toBeGreaterThan(1);
      const allowed = second.sallyport.control.approvals().filter(({ state }) => state === "allowed");
      expect(quick.filter((path) => !allowed.some((one) => one.path === path))).toEqual([]);
      const states = (): (string | undefined)[] =>
        decided.map((one) => first.sallyport.control.approvals().find((view) => view.id === one)?.state);
      await expect.poll(states, { timeout: 2_000 }).toEqual(decided.map(() => "allowed"));
      const records = JSON.stringify([...(await first.records()), ...(await second.records())]);
      const done = [...answered, ...moved.map(({ name }) => name), ...decided];
      expect(done.filter((name) => !records.includes(`"${name}"`))).toEqual([]);
    },
    60_000,
  );

  /** What it says to the proxy that it is. */
  async function registerAs(name: string, setup: string, by = first): Promise<string> {
    const policies = { setup, agent: setup === "setup" ? "agent" : setup };
    const { secret } = await by.sallyport.control.register(OPERATOR, {
      id: name,
      policies,
      phase: "setup",
      labels: {},
    });
    return `Proxy-Authorization: Basic ${Buffer.from(`${name}:${secret}`).toString("base64")}\r\n`;
  }

  async function ask(port: number, fields: string, path = "/"): Promise<number> {
    await using wire = await dialPort(port);
    const authority = `one.test:${plain.port}`;
    wire.write(`GET http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
    return (await wire.answer()).status;
  }
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
