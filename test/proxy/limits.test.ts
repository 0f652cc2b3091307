// What a sandbox may take: time for heads, handshakes and bodies, and their sizes. Each bound by what it does to who
// goes beyond it, and that it leaves alone who does not.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { capture } from "../net/hellos.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin } from "../support/recording-origin.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";
import { runSallyport } from "../support/sallyport.ts";
import { tunnelWire, wire, type Wire } from "../support/wire.ts";

const BOUND = 500;
/** Longer: that the two waits of a handshake share one bound must show on a slow machine too. */
const HANDSHAKE = 1_000;
const origin = await recordingOrigin();
const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
const secure = await recordingOrigin(certificate);
const proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, networks: [127.0.0.0/8] }
    splice: [spliced.test]
limits: { head_time: ${BOUND}ms, idle: ${BOUND}ms, handshake: ${HANDSHAKE}ms, body_idle: ${BOUND}ms, tunnel_idle: ${BOUND}ms,
  head: 2KiB, headers: 10, target: 256B }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
});

const authority = `origin.test:${origin.port}`;
const url = `http://${authority}`;
const hello = await capture({ servername: "origin.test" });

/** How the proxy ended the connection, and after how long. */
async function ending(one: Wire): Promise<{ ms: number; received: string }> {
  const from = performance.now();
  const received = await one.rest();
  return { ms: performance.now() - from, received };
}

/** A few octets at a time, slower than nobody would be, for as long as the connection takes them. */
async function dribble(one: Wire, octets: Buffer | string, everyMs = 25): Promise<void> {
  for (const octet of Buffer.from(octets)) {
    if (!one.open || one.socket.destroyed) return;
    one.send(Buffer.from([octet]));
    await sleep(everyMs);
  }
}

async function lastRecords(kind: string, reason: string): Promise<AuditRecord[]> {
  return proxy.recorded((all) => all.some((one) => one["kind"] === kind && one["reason"] === reason));
}

/** How the exchange that asked for `path` ended. */
async function completionOf(path: string): Promise<AuditRecord> {
  let found: AuditRecord | undefined;
  await proxy.recorded((all) => {
    const id = all.find((one) => one.type === "decision" && one["path"] === path)?.["id"];
    found = all.find((one) => one.type === "completion" && one["id"] === id);
    return found !== undefined;
  });
  return found as AuditRecord;
}

describe("a head", () => {
  test("a connection that says nothing is closed without a word", async () => {
    using one = await wire(proxy.port);
    const { ms, received } = await ending(one);
    expect(received).toBe("");
    expect(ms).toBeGreaterThan(BOUND * 0.8);
  });

  test.each([
    ["plain", () => wire(proxy.port)],
    [
      "in a tunnel",
      () =>
        tunnelWire(proxy.port, { authority: `origin.test:${secure.port}`, trustAnchor: proxy.trustAnchor }),
    ],
  ])("an octet at a time is no way to prolong it: %s", async (_name, open) => {
    using one = await open();
    const dribbled = dribble(one, `GET / HTTP/1.1\r\nHost: ${authority}\r\n${"X: y\r\n".repeat(30)}\r\n`);
    const { ms, received } = await ending(one);
    expect(received).toMatch(/^HTTP\/1\.1 408 /);
    expect(received).toContain("Sallyport-Reason: request-timeout");
    expect(ms).toBeGreaterThan(BOUND * 0.8);
    await dribbled;
    await lastRecords("malformed", "request-timeout");
  });

  const padded = (octets: number): string => {
    const start = `GET ${url}/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\nX: `;
    return `${start}${"x".repeat(octets - start.length)}\r\n\r\n`;
  };
  const fields = (count: number): string =>
    `GET ${url}/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n${"X: y\r\n".repeat(count - 2)}\r\n`;
  const target = (octets: number): string =>
    `GET ${url}/${"x".repeat(octets - url.length - 1)} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`;
  test.each([
    ["size", padded(2048), 200],
    ["size", padded(2049), 431],
    ["never ending", padded(2048).slice(0, -4) + "x".repeat(100_000), 431],
    ["fields", fields(10), 200],
    ["fields", fields(11), 431],
    ["target", target(256), 200],
    ["target", target(257), 431],
  ])("%s, at the bound and beyond: %#", async (_name, head, status) => {
    using one = await wire(proxy.port);
    origin.reset();
    one.send(head);
    const received = await one.rest();
    expect(Number(received.slice(9, 12))).toBe(status);
    if (status === 200) return;
    expect(received).toContain("Sallyport-Reason: head-too-large");
    expect(origin.received).toBe("");
    await lastRecords("malformed", "head-too-large");
  });
});

test("between requests a connection is kept for the idle time and no longer", async () => {
  using one = await wire(proxy.port);
  for (let count = 1; count <= 3; count++) {
    one.send(`GET ${url}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await one.until((text) => text.split("ok\n").length > count);
    if (count < 3) await sleep(BOUND / 2);
  }
  const { ms } = await ending(one);
  expect(ms).toBeGreaterThan(BOUND * 0.8);
});

describe("a handshake", () => {
  const connect = async (host = authority, halfOpen = false): Promise<Wire> => {
    const one = await wire(proxy.port, { halfOpen });
    one.send(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await one.until((text) => text.endsWith("\r\n\r\n"));
    return one;
  };

  test.each<[string, (one: Wire) => void]>([
    ["silence after CONNECT", () => {}],
    ["a ClientHello an octet at a time", (one) => void dribble(one, hello, 50)],
    ["silence after the ClientHello", (one) => one.send(hello)],
    ["half a ClientHello", (one) => one.send(hello.subarray(0, hello.length - 1))],
  ])("%s is ended at its bound and recorded", async (_name, act) => {
    using one = await connect();
    act(one);
    const before = (await proxy.records()).filter((record) => record["kind"] === "handshake").length;
    const { ms } = await ending(one);
    expect(ms).toBeGreaterThan(HANDSHAKE * 0.7);
    expect(ms).toBeLessThan(HANDSHAKE * 1.8);
    await proxy.recorded((all) => all.filter((record) => record["kind"] === "handshake").length > before);
  });

  test("a tunnel that is half-closed before anything was said in it is closed", async () => {
    using one = await connect(authority, true);
    one.socket.end();
    await once(one.socket, "close");
  });

  test("a spliced tunnel waits for its ClientHello no longer", async () => {
    using one = await connect(`spliced.test:${secure.port}`);
    expect((await ending(one)).ms).toBeLessThan(HANDSHAKE * 1.8);
  });
});

describe("a body", () => {
  test("an upload that stalls is answered 408 and cut towards the origin", async () => {
    using one = await wire(proxy.port);
    origin.reset();
    one.send(`POST ${url}/stalls HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 100\r\n\r\nabc`);
    await origin.arrived((text) => text.endsWith("abc"));
    const { ms, received } = await ending(one);
    expect(received).toMatch(/^HTTP\/1\.1 408 .*\r\n[^]*Sallyport-Reason: request-timeout/);
    expect(ms).toBeGreaterThan(BOUND * 0.8);
    expect(await completionOf("/stalls")).toMatchObject({ reason: "request-timeout", status: 408 });
  });

  test.each([
    ["chunk extensions", `5;${"x".repeat(20_000)}\r\nhello\r\n0\r\n\r\n`],
    ["chunk extensions, a few in each chunk", `${`1;${"x".repeat(100)}\r\na\r\n`.repeat(200)}0\r\n\r\n`],
    ["trailers", `0\r\nX: ${"x".repeat(20_000)}\r\n\r\n`],
    ["trailer fields", `0\r\n${"X: y\r\n".repeat(11)}\r\n`],
    ["a chunk's size", `${"0".repeat(20)}5\r\nhello\r\n0\r\n\r\n`],
  ])("%s have a bound", async (_name, body) => {
    using one = await wire(proxy.port);
    origin.reset();
    one.send(`POST ${url}/ HTTP/1.1\r\nHost: ${authority}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
    expect(await one.rest()).toMatch(/^HTTP\/1\.1 4(?:00|31) /);
    // Nobody could take what left before for a whole request.
    expect(origin.received).not.toMatch(/0\r\n\r\n$/);
  });

  test("an upload that trickles goes on: only silence is bounded", async () => {
    using one = await wire(proxy.port);
    one.send(`POST ${url}/trickles HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 30\r\n\r\n`);
    await dribble(one, "x".repeat(30), BOUND / 10);
    expect(await one.until((text) => text.includes("ok\n"))).toContain("200 OK");
  });

  test.each([["plain"], ["in a tunnel"]])(
    "a sandbox that stops reading is cut off, and so is the origin: %s",
    async (name) => {
      const tunnelled = name !== "plain";
      await using endless = await recordingOrigin(tunnelled ? certificate : undefined);
      const cut = Promise.withResolvers<void>();
      endless.behave((socket) => {
        socket.once("close", cut.resolve);
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        const more = (): void => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
        };
        socket.on("drain", more);
        more();
      });
      const host = `origin.test:${endless.port}`;
      using one = tunnelled
        ? await tunnelWire(proxy.port, { authority: host, trustAnchor: proxy.trustAnchor })
        : await wire(proxy.port);
      const path = `/unread-${tunnelled}`;
      one.socket.pause();
      one.send(`GET ${tunnelled ? "" : `http://${host}`}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(await completionOf(path)).toMatchObject({ reason: "request-timeout", outcome: "refused" });
      await cut.promise;
    },
  );

  test("the end of an answer that nobody reads does not hold its connection", async () => {
    await using large = await recordingOrigin();
    large.behave(
      answerRequests(() => `HTTP/1.1 200 OK\r\nContent-Length: 12000000\r\n\r\n${"x".repeat(12e6)}`),
    );
    const host = `origin.test:${large.port}`;
    for (const connection of ["close", "keep-alive"]) {
      using one = await wire(proxy.port, { halfOpen: true });
      one.socket.pause();
      one.send(`GET http://${host}/end HTTP/1.1\r\nHost: ${host}\r\nConnection: ${connection}\r\n\r\n`);
      one.socket.end();
      await expect.poll(open, { timeout: 10_000 }).toBe(0);
    }
  });
});

test("an upgraded connection is closed when nothing passes either way", async () => {
  await using switching = await recordingOrigin();
  switching.behave((socket) => {
    socket.once("data", () =>
      socket.write("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello"),
    );
  });
  using one = await wire(proxy.port);
  const host = `origin.test:${switching.port}`;
  one.send(`GET http://${host}/up HTTP/1.1\r\nHost: ${host}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`);
  await one.until((text) => text.endsWith("hello"));
  expect((await ending(one)).ms).toBeGreaterThan(BOUND * 0.8);
  expect(await completionOf("/up")).toMatchObject({ status: 101 });
});

describe("a spliced tunnel", () => {
  test("is closed when nothing passes either way, and not while something passes one way", async () => {
    await using ticking = await recordingOrigin();
    ticking.behave((socket) => {
      let sent = 0;
      const timer = setInterval(() => {
        socket.write("x");
        if (++sent === 8) clearInterval(timer);
      }, BOUND / 4);
    });
    using one = await wire(proxy.port);
    const host = `spliced.test:${ticking.port}`;
    one.send(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await one.until((text) => text.endsWith("\r\n\r\n"));
    one.send(await capture({ servername: "spliced.test" }));
    await one.until((text) => text.endsWith("xxxxxxxx"));
    expect((await ending(one)).ms).toBeGreaterThan(BOUND * 0.8);
  });
});

async function open(): Promise<number> {
  const text = await proxy.metrics();
  return Number(/^sallyport_connections_open (\d+)/m.exec(text)?.[1]);
}
