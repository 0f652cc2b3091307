// Memory stays flat: two gibibytes each way through an intercepted tunnel, and what hostile peers can make the proxy hold.
// The bodies are made and thrown away as they go; nobody stores them.

import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer, type TLSSocket } from "node:tls";
import { execFileSync } from "node:child_process";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { auditRecorded } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { wire } from "../support/wire.ts";

const GIB = 2 ** 30;
const SIZE = 2 * GIB;
const GROWTH_MIB = 100;
const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
const directory = await mkdtemp(join(tmpdir(), "sallyport-memory-"));
let child: Child;
let trustAnchor: string;

/** GET: sends SIZE octets. POST: counts what it gets, and says how much that was. One request a connection. */
const origin = createServer({ cert: certificate.chain, key: certificate.key }, (socket) => {
  socket.on("error", () => {});
  socket.once("data", (first: Buffer) => {
    const head = first.indexOf("\r\n\r\n") + 4;
    if (first.toString("latin1", 0, 3) === "GET") {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\nConnection: close\r\n\r\n`);
      pour(socket, SIZE);
      return;
    }
    let got = first.length - head;
    const done = (): void => {
      if (got < SIZE) return;
      const body = String(got);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    };
    socket.on("data", (chunk: Buffer) => {
      got += chunk.length;
      done();
    });
    done();
  });
});

beforeAll(async () => {
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  await writeFile(join(directory, "origin.pem"), ca.cert);
  await writeConfig(
    directory,
    `
upstream: { trust: [origin.pem], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
limits: { connections_per_source: 4096, head_time: 5s, idle: 2s, body_idle: 5s }
`,
  );
  child = await startChild(directory);
  trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
});
afterAll(async () => {
  child.signal("SIGKILL");
  await child.ended;
  origin.close();
  await rm(directory, { recursive: true });
});

/** So many octets, as fast as they are taken. */
function pour(socket: Socket | TLSSocket, octets: number): void {
  const chunk = Buffer.alloc(65_536, "x");
  let left = octets;
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const next = Math.min(left, chunk.length);
      left -= next;
      if (!socket.write(next === chunk.length ? chunk : chunk.subarray(0, next))) return;
    }
  };
  socket.on("drain", more);
  more();
}

async function tunnel(): Promise<TLSSocket> {
  const authority = `origin.test:${(origin.address() as AddressInfo).port}`;
  const outer = connect(child.port, "127.0.0.1");
  outer.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await once(outer, "data");
  const secured = connectTls({ socket: outer, servername: "origin.test", ca: trustAnchor });
  await once(secured, "secureConnect");
  return secured;
}

/** Runs it, and says by how much the proxy's memory grew at most; in MiB. */
async function growth(work: () => Promise<void>): Promise<number> {
  const before = await child.memory();
  let most = before;
  const timer = setInterval(() => void child.memory().then((now) => (most = Math.max(most, now))), 50);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  most = Math.max(most, await child.memory());
  return most - before;
}

function report(what: string, grew: number, from: number): void {
  const seconds = (performance.now() - from) / 1000;
  process.stdout.write(`${what}: memory grew by ${grew.toFixed(0)} MiB in ${seconds.toFixed(1)} s\n`);
}

describe("2 GiB through an intercepted tunnel", () => {
  const host = (): string => `Host: origin.test:${(origin.address() as AddressInfo).port}\r\n`;
  // What a first use loads and warms up is not what flows.
  beforeAll(async () => {
    const socket = await tunnel();
    socket.write(`GET / HTTP/1.1\r\n${host()}\r\n`);
    await once(socket, "data");
    socket.destroy();
  });

  test("down", async () => {
    const from = performance.now();
    const grew = await growth(async () => {
      const socket = await tunnel();
      socket.write(`GET /down HTTP/1.1\r\n${host()}Connection: close\r\n\r\n`);
      let got = 0;
      socket.on("data", (chunk: Buffer) => (got += chunk.length));
      await once(socket, "end");
      expect(got).toBeGreaterThan(SIZE);
      socket.destroy();
    });
    report("download of 2 GiB", grew, from);
    expect(grew).toBeLessThan(GROWTH_MIB);
  });

  test("up", async () => {
    const from = performance.now();
    const grew = await growth(async () => {
      const socket = await tunnel();
      socket.write(`POST /up HTTP/1.1\r\n${host()}Content-Length: ${SIZE}\r\nConnection: close\r\n\r\n`);
      pour(socket, SIZE);
      let answer = "";
      socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
      await once(socket, "end");
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 200 OK\r\n[^]*\r\n\r\n${SIZE}$`));
      socket.destroy();
    });
    report("upload of 2 GiB", grew, from);
    expect(grew).toBeLessThan(GROWTH_MIB);
  });

  test("down to a sandbox that reads nothing", async () => {
    const from = performance.now();
    const grew = await growth(async () => {
      const sockets = await Promise.all(Array.from({ length: 20 }, tunnel));
      for (const socket of sockets) {
        socket.pause();
        socket.write(`GET /unread HTTP/1.1\r\n${host()}\r\n`);
      }
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      for (const socket of sockets) socket.destroy();
    });
    report("20 downloads that nobody reads", grew, from);
    expect(grew).toBeLessThan(GROWTH_MIB);
  });
});

describe("floods", () => {
  const connected = async (count: number): Promise<Socket[]> =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const socket = connect({ port: child.port, host: "127.0.0.1", allowHalfOpen: true });
        socket.on("error", () => {});
        await once(socket, "connect");
        return socket;
      }),
    );
  const served = async (): Promise<void> => {
    using one = await wire(child.port);
    one.send("GET http://sallyport.internal/ HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
    expect(await one.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 200 /);
  };
  const gone = async (): Promise<void> => {
    const open = async (): Promise<number> => {
      const text = await (await fetch(`http://127.0.0.1:${child.adminPort}/metrics`)).text();
      return Number(/^sallyport_connections_open (\d+)/m.exec(text)?.[1]);
    };
    await expect.poll(open, { timeout: 30_000, interval: 200 }).toBe(0);
  };

  test.each<[string, number, (socket: Socket) => void]>([
    ["3,000 connections that say nothing", 3_000, () => {}],
    [
      "3,000 half-open ones in the middle of a head",
      3_000,
      (socket) => void socket.write("GET http://x/ HTTP/1.1\r\nX: "),
    ],
    [
      "500 heads of 60 KiB without end",
      500,
      (socket) => void socket.write(`GET http://x/ HTTP/1.1\r\nX: ${"x".repeat(60_000)}`),
    ],
    [
      "500 bodies of 60 KiB for nobody",
      500,
      (socket) =>
        void socket.write(
          `POST http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${"x".repeat(60_000)}`,
        ),
    ],
  ])("%s: others are served, and they are let go in time", async (what, count, act) => {
    const from = performance.now();
    let sockets: Socket[] = [];
    const grew = await growth(async () => {
      sockets = await connected(count);
      for (const socket of sockets) act(socket);
      await served();
      await gone();
      await served();
    });
    for (const socket of sockets) socket.destroy();
    report(what, grew, from);
    expect(grew).toBeLessThan(GROWTH_MIB + 50);
  });

  test("10,000 requests sent ahead by one that reads, and by one that does not", async () => {
    const from = performance.now();
    const pipeline = Array.from(
      { length: 10_000 },
      (_, at) => `GET http://x/${at} HTTP/1.1\r\nHost: x\r\n\r\n`,
    ).join("");
    const grew = await growth(async () => {
      using silent = await wire(child.port);
      silent.socket.pause();
      silent.send(pipeline.repeat(5));
      using reading = await wire(child.port);
      reading.send(pipeline);
      await reading.until((text) => text.slice(-1_000).includes("x/9999\n"));
      await served();
      await gone();
    });
    report("60,000 requests sent ahead", grew, from);
    expect(grew).toBeLessThan(GROWTH_MIB);
  });
});

test("with no file descriptor left it refuses, lives, and serves again", async () => {
  const files = 100;
  execFileSync("prlimit", ["--pid", String(child.pid), `--nofile=${files}:4096`]);
  const sockets = Array.from({ length: 3 * files }, () =>
    connect(child.port, "127.0.0.1").on("error", () => {}),
  );
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  for (const socket of sockets) socket.destroy();
  execFileSync("prlimit", ["--pid", String(child.pid), "--nofile=4096:4096"]);
  const authority = `origin.test:${(origin.address() as AddressInfo).port}`;
  await expect
    .poll(
      async () => {
        using one = await wire(child.port);
        one.send(`GET http://${authority}/again HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
        return (await one.until((text) => text.includes("\r\n\r\n"))).slice(0, 12);
      },
      { timeout: 20_000 },
    )
    // The origin speaks TLS; what matters is that it was asked.
    .toBe("HTTP/1.1 502");
  await auditRecorded(join(directory, "data", "audit"), (all) => all.some((one) => one["path"] === "/again"));
});
