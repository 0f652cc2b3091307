// Compares the HTTP/1.1 engine towards origins with undici's, and the relay behind an upgrade with http-proxy-3's: CPU time
// of this process per request and per relayed message, in alternating rounds. The origin is a process of its own.
// node bench/engines.ts [--json]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createProxyServer } from "http-proxy-3";
import { Pool } from "undici";
import { WebSocket } from "ws";
import type { Address } from "../src/net/address.ts";
import { parseAuthority } from "../src/net/authority.ts";
import { DEFAULT_LIMITS } from "../src/net/limits.ts";
import type { BodySink, BodySource } from "../src/net/message.ts";
import { Relay } from "../src/proxy/relay.ts";
import type { Origin } from "../src/upstream/engine.ts";
import { createUpstream } from "../src/upstream/pool.ts";
import { createResolver } from "../src/upstream/resolve.ts";
import { createTrust } from "../src/upstream/trust.ts";
import { connect } from "node:net";

const REQUESTS = 20_000;
const CONCURRENCY = 32;
const MESSAGES = 20_000;
const ROUNDS = 5;

const origin = spawn(process.execPath, ["-e", originScript()], { stdio: ["ignore", "pipe", "inherit"] });
const port = Number(String((await once(origin.stdout, "data"))[0]));
const figures: Record<string, number[]> = {};
const record = (name: string, value: number): void => void (figures[name] ??= []).push(value);
for (let round = 0; round <= ROUNDS; round++) {
  const ours = await cpuPer(REQUESTS, sallyportRequests);
  const undicis = await cpuPer(REQUESTS, undiciRequests);
  const relayed = await relayRound(sallyportRelay);
  const proxied = await relayRound(httpProxyRelay);
  // The first round warms up.
  if (round === 0) continue;
  record("request, sallyport", ours);
  record("request, undici", undicis);
  record("relayed message, sallyport", relayed);
  record("relayed message, http-proxy-3", proxied);
}
origin.kill();
report();

async function cpuPer(count: number, work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

async function sallyportRequests(): Promise<void> {
  const quiet = { opened() {}, reused() {}, closed() {}, took() {}, handshake() {} };
  const upstream = createUpstream({
    resolver: createResolver({ timeoutMs: 1000 }),
    trust: createTrust({ trust: ["bundled"] }),
    limits: DEFAULT_LIMITS,
    http2: "never",
    on: quiet,
  });
  const target = parseAuthority(`127.0.0.1:${port}`, 80);
  if (target === undefined) throw new Error("unreachable");
  const at: Origin = { scheme: "http", target, partition: "", by: "1.1" };
  const headers = ["Host", `127.0.0.1:${port}`, "User-Agent", "bench", "Accept", "*/*"];
  const none: BodySource = { length: { kind: "none" }, pipe() {}, stop() {} };
  await concurrently(async () => {
    const connection = upstream.reuse(at) ?? (await upstream.connect(at, ["127.0.0.1" as Address]));
    const answer = await connection.send(
      { method: "GET", target: "/", headers, body: none, upgrade: undefined, trailers: false },
      () => {},
    );
    await new Promise<void>((resolve) => {
      const sink: BodySink = {
        write: () => true,
        end: () => resolve(),
        abort: () => resolve(),
        onDrain: undefined,
      };
      answer.body.pipe(sink);
    });
  });
  upstream.close();
}

async function undiciRequests(): Promise<void> {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONCURRENCY, pipelining: 1 });
  const headers = ["Host", `127.0.0.1:${port}`, "User-Agent", "bench", "Accept", "*/*"];
  await concurrently(
    () =>
      new Promise<void>((resolve, reject) => {
        pool.dispatch(
          { method: "GET", path: "/", headers },
          {
            onRequestStart() {},
            onResponseStart() {},
            onResponseData() {},
            onResponseEnd: () => resolve(),
            onResponseError: (_controller, error) => reject(error),
          },
        );
      }),
  );
  await pool.close();
}

async function concurrently(once: () => Promise<void>): Promise<void> {
  let left = REQUESTS;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      while (left-- > 0) await once();
    }),
  );
}

type Relayer = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/** One message at a time there and back, so that each costs a turn of its own; the client's share is in both figures. */
async function relayRound(relayer: Relayer): Promise<number> {
  const server = createServer();
  server.on("upgrade", (request, socket, head) => relayer(request, socket as Socket, head));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await once(client, "open");
  const spent = await cpuPer(MESSAGES, async () => {
    for (let sent = 0; sent < MESSAGES; sent++) {
      const echoed = once(client, "message");
      client.send("x".repeat(100));
      await echoed;
    }
  });
  client.terminate();
  server.close();
  return spent;
}

function httpProxyRelay(request: IncomingMessage, socket: Socket, head: Buffer): void {
  const proxy = createProxyServer({ target: `http://127.0.0.1:${port}` });
  proxy.on("error", () => {});
  proxy.ws(request, socket, head);
}

function sallyportRelay(request: IncomingMessage, socket: Socket): void {
  const up = connect(port, "127.0.0.1");
  let text = `GET / HTTP/1.1\r\n`;
  for (let i = 0; i < request.rawHeaders.length; i += 2)
    text += `${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`;
  up.write(`${text}\r\n`);
  // oxlint-disable-next-line no-new -- it lives as long as its sockets
  new Relay({ down: socket, up, idleMs: 60_000, onEnd() {} });
}

function originScript(): string {
  return `
    const http = require("node:http"), { WebSocketServer } = require("ws");
    const body = Buffer.alloc(1024, 97);
    const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => response.end(body));
    new WebSocketServer({ server }).on("connection", (socket) => socket.on("message", (data) => socket.send(data)).on("error", () => {}));
    server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  `;
}

function report(): void {
  const rows = Object.entries(figures).map(([name, values]) => {
    const sorted = values.toSorted((a, b) => a - b);
    return { name, median: sorted[sorted.length >> 1] ?? 0, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
  });
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ unit: "microseconds of CPU", rounds: ROUNDS, rows }, undefined, 2));
    return;
  }
  console.log("CPU per operation in microseconds: median (min-max) of %d rounds", ROUNDS);
  for (const { name, median, min, max } of rows) {
    console.log(`${name.padEnd(32)} ${median.toFixed(1)} (${min.toFixed(1)}-${max.toFixed(1)})`);
  }
}
