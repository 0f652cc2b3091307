// Whatever way a sandbox has something open, its end, a lockdown and the move to agent cut it within a second, and what was kept
// for it is used by nobody any more.

import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { dialPort, openTunnel, Wire } from "../proxy/wire.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { twoOrigins } from "../support/two-origins.ts";

const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:1" };

const { ca, plain, secure, upstream } = await twoOrigins(["one.test", "unread.test", "raw.test"], {
  behaviour: stream,
});
let proxy: RunningSallyport;
let turn = 0;
let id: string;
let credentials: string;

beforeAll(async () => {
  const rule = (host: string): string => `{ host: ${host}, networks: [127.0.0.0/8] }`;
  const tcp = `tcp: [{ host: raw.test, ports: [${plain.port}], networks: [127.0.0.0/8] }]`;
  proxy = await runSallyport(`
${upstream}
limits: { drain: 1s }
anonymous: setup
policies:
  setup:
    { preset: none, methods: all, allow: [${rule("one.test")}, ${rule("unread.test")}], splice: [unread.test], ${tcp} }
  agent: { preset: none }
  same: { preset: none, methods: all, allow: [${rule("one.test")}] }
`);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});
beforeEach(async () => {
  id = `task-${++turn}`;
  const { control } = proxy.sallyport;
  const policies = { setup: "setup", agent: "agent" };
  const { secret } = await control.register(OPERATOR, { id, policies, phase: "setup", labels: {} });
  credentials = `${id}:${secret}`;
});

/** Upgrades whoever asks, else begins an answer that goes on; echoes what follows. */
function stream(socket: Socket): void {
  socket.once("data", (chunk: Buffer) => {
    if (!chunk.includes("HTTP/1.1")) return void socket.write("hello");
    socket.write(
      chunk.includes("Upgrade:")
        ? "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        : "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello",
    );
  });
}

const authorization = (): string =>
  credentials === "" ? "" : `Proxy-Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n`;
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

async function request(fields = ""): Promise<Wire> {
  const wire = await dialPort(proxy.port);
  const authority = `one.test:${plain.port}`;
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${authorization()}${fields}\r\n`);
  await wire.until(() => wire.all.endsWith("hello"));
  expect(wire.all).toMatch(/hello$/);
  return wire;
}

async function tunnel(host: string): Promise<Wire> {
  const wire = await openTunnel({
    port: proxy.port,
    target: `${host}:${secure.port}`,
    headers: authorization(),
    tls: { ca: [proxy.trustAnchor, ca.cert], servername: host },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  return wire;
}

async function inTunnel(host: string, fields = ""): Promise<Wire> {
  const wire = await tunnel(host);
  wire.write(`GET / HTTP/1.1\r\nHost: ${host}:${secure.port}\r\n${fields}\r\n`);
  await wire.until(() => wire.all.endsWith("hello"));
  expect(wire.all).toMatch(/hello$/);
  return wire;
}

async function raw(): Promise<Wire> {
  const wire = await dialPort(proxy.port);
  const target = `raw.test:${plain.port}`;
  wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization()}\r\n`);
  expect((await wire.answer("CONNECT")).status).toBe(200);
  wire.write("anything");
  await wire.until(() => wire.all.endsWith("hello"));
  return wire;
}

async function bySocks5(): Promise<Wire> {
  const outer = await dialPort(proxy.port);
  const asked = { host: "one.test", port: secure.port, ...(credentials !== "" && { credentials }) };
  expect(await socks5(outer, asked)).toBe(0);
  outer.socket.removeAllListeners("data");
  const inner = new Wire(connectTls({ socket: outer.socket, ca: proxy.trustAnchor, servername: "one.test" }));
  inner.write(`GET / HTTP/1.1\r\nHost: one.test:${secure.port}\r\n\r\n`);
  await inner.until(() => inner.all.endsWith("hello"));
  expect(inner.all).toMatch(/hello$/);
  return inner;
}

const WAYS = [
  { way: "a streaming answer", open: () => request() },
  { way: "a WebSocket", open: () => request(UPGRADE) },
  { way: "an idle tunnel", open: () => tunnel("one.test") },
  { way: "a streaming answer in a tunnel", open: () => inTunnel("one.test") },
  { way: "a WebSocket in a tunnel", open: () => inTunnel("one.test", UPGRADE) },
  { way: "a spliced tunnel", open: () => inTunnel("unread.test") },
  { way: "a raw TCP tunnel", open: raw },
  { way: "a tunnel by SOCKS5", open: bySocks5 },
] as const;

const ORDERS = [
  { order: "its end", give: () => proxy.sallyport.control.end(OPERATOR, id, "done") },
  { order: "the move to agent", give: () => proxy.sallyport.control.move(OPERATOR, id, "agent") },
  { order: "its lockdown", give: () => proxy.sallyport.control.lockDown(OPERATOR, id, "incident") },
  {
    order: "a policy that allows nothing of it",
    give: () =>
      proxy.sallyport.control.update(OPERATOR, id, { policies: { setup: "agent", agent: "agent" } }),
  },
] as const;

describe.each(ORDERS)("$order cuts", ({ give }) => {
  test.each(WAYS)("$way", async ({ open }) => {
    await using wire = await open();
    const before = performance.now();
    await give();
    await wire.until(() => false);
    expect(wire.closed || wire.ended).toBe(true);
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});

test.each(WAYS)("the lockdown of all cuts $way, whoever has no name included", async ({ open }) => {
  await using named = await open();
  credentials = "";
  await using nameless = await open();
  await proxy.sallyport.control.lockDown(OPERATOR, "*", "incident");
  try {
    await Promise.all([named.until(() => false), nameless.until(() => false)]);
    await using late = await dialPort(proxy.port);
    const authority = `one.test:${plain.port}`;
    const connections = plain.connections;
    late.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect((await late.answer()).field("sallyport-reason")).toBe("lockdown");
    expect(plain.connections).toBe(connections);
  } finally {
    await proxy.sallyport.control.lift(OPERATOR, "*", "over");
  }
});

test("what time ends is cut, too", async () => {
  await proxy.sallyport.control.update(OPERATOR, id, { ttl: 1_000 });
  await using wire = await tunnel("one.test");
  await wire.until(() => false);
  await expect.poll(() => proxy.sallyport.control.sandbox(id)?.state).toBe("ended");
});

describe("a connection to an origin that was kept idle", () => {
  const policies = { setup: "same", agent: "same" };
  const ask = async (wire: Wire): Promise<void> => {
    const authority = `one.test:${plain.port}`;
    wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${authorization()}\r\n`);
    expect((await wire.answer()).status).toBe(200);
  };
  beforeEach(async () => {
    await proxy.sallyport.control.update(OPERATOR, id, { policies });
  });

  test("is closed by the move, and not used in the other phase", async () => {
    const gone: Socket[] = [];
    plain.behave((socket) => {
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
      socket.on("close", () => gone.push(socket));
    });
    await using wire = await dialPort(proxy.port);
    const { connections } = plain;
    await ask(wire);
    await ask(wire);
    expect(plain.connections).toBe(connections + 1);
    await proxy.sallyport.control.move(OPERATOR, id, "agent");
    await expect.poll(() => gone.length, { timeout: 1_000 }).toBe(1);
    await ask(wire);
    expect(plain.connections).toBe(connections + 2);
  });

  test("is not used in the other phase where it was busy at the move", async () => {
    const waiting: Socket[] = [];
    plain.behave((socket) => void socket.on("data", () => waiting.push(socket)));
    await using wire = await dialPort(proxy.port);
    const authority = `one.test:${plain.port}`;
    wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${authorization()}\r\n`);
    await expect.poll(() => waiting.length).toBe(1);
    await proxy.sallyport.control.move(OPERATOR, id, "agent");
    waiting[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    expect((await wire.answer()).status).toBe(200);
    const { connections } = plain;
    plain.behave((socket) => {
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    });
    await ask(wire);
    expect(plain.connections).toBe(connections + 1);
  });
});
