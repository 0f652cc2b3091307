// How many: connections in all and from one source, leaves minted, requests sent ahead. Who is turned away is told so
// and recorded, and room that becomes free can be used.

import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { type RunningSallyport, runSallyport } from "../support/sallyport.ts";
import { tunnelWire, wireOf, type Wire } from "../support/wire.ts";

const POLICY = `
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, methods: read-only, allow: [{ host: "**.test", networks: [127.0.0.0/8] }] }
`;
let proxy: RunningSallyport | undefined;
const wires: Wire[] = [];
afterEach(async () => {
  for (const one of wires.splice(0)) one.socket.destroy();
  await proxy?.[Symbol.asyncDispose]();
  proxy = undefined;
});

async function run(limits: string): Promise<RunningSallyport> {
  proxy = await runSallyport(`${POLICY}limits: { ${limits} }\n`);
  return proxy;
}

async function from(address: string, { port }: RunningSallyport): Promise<Wire> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: address });
  await once(socket, "connect");
  const one = wireOf(socket);
  wires.push(one);
  return one;
}

const open = async (running: RunningSallyport): Promise<number> =>
  Number(/^sallyport_connections_open (\d+)/m.exec(await running.metrics())?.[1]);

describe("connections", () => {
  test.each([
    ["from one source", "connections_per_source: 3", /^HTTP\/1\.1 200 /],
    ["in all", "connections: 3", /^HTTP\/1\.1 503 /],
  ])("%s: the next is told so, and recorded", async (_name, limits, status) => {
    const running = await run(limits);
    for (let count = 0; count < 3; count++) await from("127.0.0.1", running);
    await expect.poll(() => open(running)).toBe(3);
    // It has spoken already: what it said must not turn the answer into a reset.
    const refused = await from("127.0.0.1", running);
    refused.send(`CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n${"x".repeat(10_000)}`);
    const answer = await refused.rest();
    expect(answer).toMatch(
      /^HTTP\/1\.1 503 [^]*Sallyport-Reason: too-many-connections\r\n[^]*Retry-After: 1\r\n/,
    );
    const records = await running.recorded((all) => all.some((one) => one["kind"] === "connection"));
    expect(records.find((one) => one["kind"] === "connection")).toMatchObject({
      verdict: "deny",
      reason: "too-many-connections",
    });
    const elsewhere = await from("127.0.0.2", running);
    elsewhere.send("GET http://sallyport.internal/ HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
    expect(await elsewhere.until((text) => text.includes("\r\n\r\n"))).toMatch(status);

    for (const one of wires.splice(0, 2)) one.socket.destroy();
    await expect.poll(() => open(running)).toBeLessThan(3);
    const next = await from("127.0.0.1", running);
    next.send("GET http://sallyport.internal/ HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
    expect(await next.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("a flood of refused ones ends, each with its record", async () => {
    const running = await run("connections: 1");
    await from("127.0.0.1", running);
    await expect.poll(() => open(running)).toBe(1);
    const flood = await Promise.all(Array.from({ length: 600 }, () => from("127.0.0.1", running)));
    await Promise.all(flood.map((one) => one.closed));
    await running.recorded((all) => all.filter((one) => one["kind"] === "connection").length === 600);
    await expect.poll(() => open(running), { timeout: 5_000 }).toBe(1);
  });

  test("of a flood that stays half open some are told, and the rest are reset", async () => {
    const running = await run("connections: 1");
    await from("127.0.0.1", running);
    await expect.poll(() => open(running)).toBe(1);
    const { port } = running;
    // Some may be reset before they know that they are connected.
    const flood = Array.from({ length: 600 }, () =>
      wireOf(connect({ port, host: "127.0.0.1", allowHalfOpen: true })),
    );
    wires.push(...flood);
    await Promise.all(flood.map((one) => one.closed));
    const told = flood.filter(({ received }) => received.startsWith("HTTP/1.1 503 "));
    const reset = flood.filter(({ received }) => received === "");
    expect(told.length).toBeGreaterThanOrEqual(256);
    expect(reset.length).toBeGreaterThan(0);
    expect(told.length + reset.length).toBe(600);
  });
});

describe("mintings", () => {
  test("beyond the burst a tunnel is refused in TLS and recorded; known names and later ones are served", async () => {
    const running = await run("mintings: 1, mintings_burst: 2, handshake: 5s");
    const secured = (name: string): Promise<Wire> =>
      tunnelWire(running.port, { authority: `${name}.test:443`, trustAnchor: running.trustAnchor });
    wires.push(await secured("one"), await secured("two"));
    await expect(secured("three")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
    wires.push(await secured("one"));
    const records = await running.recorded((all) =>
      all.some((one) => one["kind"] === "handshake" && one["reason"] === "mint-limit"),
    );
    const connects = records.filter((one) => one["kind"] === "connect" && one["host"] === "three.test");
    expect(connects).toHaveLength(1);
    await running.recorded((all) =>
      all.some((one) => one.type === "completion" && one["id"] === connects[0]?.["id"]),
    );
    expect(await running.metrics()).toMatch(/^sallyport_limits_total\{reason="mint-limit"\} 1$/m);
    // Nothing of the refused tunnel stays open.
    await expect.poll(() => open(running)).toBe(3);
    await expect
      .poll(
        () =>
          secured("four").then(
            (one) => wires.push(one),
            () => 0,
          ),
        { timeout: 5_000 },
      )
      .toBeTruthy();
  });

  test("a flood of names mints no faster than that, and the leaves kept are as many as may be", async () => {
    const running = await run("mintings: 1, mintings_burst: 20, leaves: 5");
    const from = performance.now();
    let refused = 0;
    for (let count = 0; count < 40; count++) {
      const authority = `n${count}.test:443`;
      await tunnelWire(running.port, { authority, trustAnchor: running.trustAnchor }).then(
        (one) => one.socket.destroy(),
        () => refused++,
      );
    }
    const text = await running.metrics();
    const minted = Number(/^sallyport_leaves_minted_total (\d+)/m.exec(text)?.[1]);
    expect(minted + refused).toBe(40);
    expect(minted).toBeLessThanOrEqual(21 + (performance.now() - from) / 1000);
    expect(Number(/^sallyport_leaf_cache_entries (\d+)/m.exec(text)?.[1])).toBe(5);
  });
});

describe("requests sent ahead", () => {
  const pipeline = (count: number): string =>
    Array.from(
      { length: count },
      (_, at) => `GET http://denied.example/${at} HTTP/1.1\r\nHost: denied.example\r\n\r\n`,
    ).join("");

  test("are answered one by one, in order, however many", async () => {
    const running = await run("idle: 5s");
    const one = await from("127.0.0.1", running);
    const count = 2_000;
    one.send(pipeline(count));
    const text = await one.until((received) => received.slice(-1_000).includes(`/${count - 1}\n`));
    const urls = [...text.matchAll(/request: GET http:\/\/denied\.example\/(\d+)/g)].map(([, at]) =>
      Number(at),
    );
    expect(urls).toEqual(Array.from({ length: count }, (_, at) => at));
  });

  test("are not taken while nobody reads the answers, and not waited for without end", async () => {
    const running = await run("idle: 400ms");
    const one = await from("127.0.0.1", running);
    one.socket.pause();
    const count = 60_000;
    one.send(pipeline(count));
    await expect.poll(() => open(running), { timeout: 15_000 }).toBe(0);
    const decided = (await running.records()).filter((record) => record.type === "decision").length;
    expect(decided).toBeGreaterThan(0);
    expect(decided).toBeLessThan(count / 2);
  });
});

test("a body that nobody wants is read away, and not without end", async () => {
  await using origin = await recordingOrigin();
  const running = await run("body_idle: 5s");
  const one = await from("127.0.0.1", running);
  const authority = `origin.test:${origin.port}`;
  one.send(`POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  expect(await one.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 403 /);
  const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
  for (let sent = 0; sent < 100 && one.open; sent++) {
    one.send(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await one.closed;
  expect(origin.received).toBe("");
});
