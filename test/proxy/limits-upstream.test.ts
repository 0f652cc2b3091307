// What an origin may take: time to be found, to be connected to, to answer and to send, and what of it is kept. Each
// bound by what the sandbox is told and what the origin is left with.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { recordingOrigin, type Behaviour, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { answers, tunnelWire, wire, type Wire } from "../support/wire.ts";
import { blackHole } from "../upstream/origins.ts";

const BOUND = 500;
const names = createSocket("udp4");
names.bind(0, "127.0.0.1");
await once(names, "listening");
const proxy = await runSallyport(`
upstream:
  hosts: { origin.test: [127.0.0.1] }
  resolvers: ["127.0.0.1:${names.address().port}"]
  pool: { total: 4, per_origin: 2, idle: ${BOUND}ms }
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: "**.test", networks: [127.0.0.0/8] }] }
limits: { body_idle: ${BOUND}ms, response_head: ${BOUND}ms, connect: ${BOUND}ms, dns: ${BOUND}ms }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  names.close();
});

type Asked = { readonly answer: string; readonly ms: number };

/** One request in a connection of its own; what the sandbox got by its end. */
async function ask(
  port: number,
  { host = "origin.test", request = "GET", fields = "", body = "" } = {},
): Promise<Asked> {
  using one = await wire(proxy.port);
  const from = performance.now();
  const authority = `${host}:${port}`;
  one.send(
    `${request} http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n${fields}\r\n${body}`,
  );
  const answer = await one.rest();
  return { answer, ms: performance.now() - from };
}

async function behaving(behaviour: Behaviour): Promise<RecordingOrigin> {
  const origin = await recordingOrigin();
  origin.behave(behaviour);
  return origin;
}

function expectFault({ answer, ms }: Asked, status: number, reason: string): void {
  const last = answers(answer).at(-1);
  expect(last).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(last).toContain(`Sallyport-Reason: ${reason}\r\n`);
  expect(ms).toBeGreaterThan(BOUND * 0.8);
  expect(ms).toBeLessThan(BOUND * 4);
}

describe("the way there", () => {
  test("a silent name server", async () => {
    expectFault(await ask(80, { host: "silent.test" }), 504, "dns-timeout");
  });

  test("an origin that does not accept", async () => {
    await using hole = await blackHole();
    expectFault(await ask(hole.port), 504, "upstream-timeout");
  });

  test("an origin that accepts and is silent when TLS begins", async () => {
    await using origin = await behaving(() => {});
    using one = await tunnelWire(proxy.port, {
      authority: `origin.test:${origin.port}`,
      trustAnchor: proxy.trustAnchor,
    });
    const from = performance.now();
    one.send(`GET / HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`);
    const answer = await one.until((text) => answers(text).length === 1);
    expectFault({ answer, ms: performance.now() - from }, 504, "upstream-timeout");
    expect(origin.received).not.toContain("GET");
  });
});

describe("an answer's head", () => {
  /** Says `octets` over and over, so many milliseconds apart. */
  const trickle =
    (first: string, octets: string, everyMs: number): Behaviour =>
    (socket) => {
      socket.once("data", () => {
        socket.write(first);
        const timer = setInterval(() => socket.write(octets), everyMs);
        socket.once("close", () => clearInterval(timer));
      });
    };
  test.each<[string, Behaviour, number, string]>([
    ["never comes", () => {}, 504, "upstream-read-timeout"],
    ["trickles", trickle("HTTP/1.1 200 OK\r\n", "X: y\r\n", 50), 504, "upstream-read-timeout"],
    [
      "is put off by interim answers",
      trickle("", "HTTP/1.1 102 Processing\r\n\r\n", 50),
      504,
      "upstream-read-timeout",
    ],
  ])("%s", async (_name, behaviour, status, reason) => {
    await using origin = await behaving(behaviour);
    expectFault(await ask(origin.port), status, reason);
  });

  test.each<[string, string, string]>([
    ["a flood of interim answers", "HTTP/1.1 102 Processing\r\n\r\n".repeat(100), "upstream-malformed"],
    ["too many fields", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(200)}\r\n`, "upstream-head-too-large"],
    ["too many octets", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}\r\n\r\n`, "upstream-head-too-large"],
    ["octets without end", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(200_000)}`, "upstream-head-too-large"],
  ])("%s", async (_name, octets, reason) => {
    await using origin = await behaving((socket) => void socket.once("data", () => socket.write(octets)));
    const { answer } = await ask(origin.port);
    expect(answers(answer).at(-1)).toContain(`Sallyport-Reason: ${reason}\r\n`);
  });

  test("is waited for from the request's end on, not from its beginning", async () => {
    await using origin = await behaving((socket) => {
      let seen = 0;
      socket.on("data", (chunk: Buffer) => {
        seen += chunk.toString("latin1").split("x").length - 1;
        if (seen === 10) setTimeout(() => socket.write("HTTP/1.1 204 No Content\r\n\r\n"), BOUND * 0.6);
      });
    });
    using one = await wire(proxy.port);
    const authority = `origin.test:${origin.port}`;
    one.send(`POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 10\r\n\r\n`);
    for (let sent = 0; sent < 10; sent++) {
      one.send("x");
      await new Promise((resolve) => setTimeout(resolve, BOUND / 5));
    }
    expect(await one.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 204 /);
  });
});

describe("a body", () => {
  test("an origin that stalls in its answer leaves it visibly cut", async () => {
    await using origin = await behaving(
      (socket) =>
        void socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
    );
    const { answer, ms } = await ask(origin.port);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nabc$/);
    expect(ms).toBeGreaterThan(BOUND * 0.8);
    await proxy.recorded((all) =>
      all.some((one) => one["reason"] === "upstream-read-timeout" && one["status"] === 200),
    );
  });

  test("an origin that takes nothing in ends the upload", async () => {
    const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
    const sockets: Socket[] = [];
    server.on("connection", (socket) => sockets.push(socket.on("error", () => {})));
    await once(server, "listening");
    try {
      using one = await wire(proxy.port);
      const authority = `origin.test:${(server.address() as AddressInfo).port}`;
      one.send(
        `POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 1000000000\r\n\r\n`,
      );
      const timer = setInterval(() => {
        if (one.socket.writableLength < 1_000_000) one.send(Buffer.alloc(1_000_000));
      }, 5);
      const answer = await one.until((text) => text.includes("\r\n\r\n"));
      clearInterval(timer);
      expect(answer).toContain("Sallyport-Reason: upstream-read-timeout\r\n");
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });
});

describe("the pool", () => {
  const get = (one: Wire, port: number): void => {
    const authority = `origin.test:${port}`;
    one.send(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  };
  const open = async (): Promise<number> => {
    const text = await proxy.metrics();
    return Number(/^sallyport_upstream_connections_open (\d+)/m.exec(text)?.[1]);
  };

  test("keeps an idle connection for its time, and no more of them than it may", async () => {
    await using origin = await recordingOrigin();
    await expect.poll(open).toBe(0);
    const wires = await Promise.all(Array.from({ length: 4 }, () => wire(proxy.port)));
    for (const one of wires) get(one, origin.port);
    for (const one of wires) await one.until((text) => text.includes("ok\n"));
    expect(origin.connections).toBe(4);
    await expect.poll(open, { interval: 5 }).toBe(2);
    await expect.poll(open, { timeout: 5_000 }).toBe(0);
    for (const one of wires) one.socket.destroy();
  });

  test("opens no more connections than it may; an idle one makes room, a busy one does not", async () => {
    await using idle = await recordingOrigin();
    await using busy = await behaving(() => {});
    await expect.poll(open).toBe(0);
    using first = await wire(proxy.port);
    get(first, idle.port);
    await first.until((text) => text.includes("ok\n"));
    const wires = await Promise.all(Array.from({ length: 5 }, () => wire(proxy.port)));
    for (const one of wires) get(one, busy.port);
    const refused = await Promise.race(
      wires.map(async (one) => {
        await one.until((text) => text.includes("too-many-connections"));
        return one.received;
      }),
    );
    expect(refused).toMatch(
      /^HTTP\/1\.1 503 [^]*Sallyport-Reason: too-many-connections\r\n[^]*Retry-After: 1\r\n/,
    );
    await expect.poll(() => busy.connections).toBe(4);
    for (const one of wires) one.socket.destroy();
  });
});
