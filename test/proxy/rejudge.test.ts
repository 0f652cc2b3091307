// A new generation judges again what is under way: what it no longer allows is cut at once and recorded so, the rest goes on.

import { once } from "node:events";
import type { Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { twoOrigins } from "../support/two-origins.ts";

const { ca, plain, secure, upstream } = await twoOrigins(["one.test", "two.test"], { behaviour: stream });
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  proxy = await runSallyport(both(""));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

beforeEach(async () => {
  expect(await proxy.reconfigure(both(""))).toBe(true);
  recorded = (await proxy.records()).length;
});

const rule = (host: string): string => `{ host: ${host}, networks: [127.0.0.0/8] }`;
const policy = (text: string): string =>
  `${upstream}\nlimits: { drain: 1s }\nanonymous: default\npolicies:\n  default: { preset: none, methods: all, ${text} }\n`;
const both = (more: string): string => policy(`allow: [${rule("one.test")}, ${rule("two.test")}]${more}`);
const onlyTwo = (more = ""): string => policy(`allow: [${rule("two.test")}]${more}`);
const splice = ", splice: [one.test, two.test]";

/** Upgrades whoever asks, else begins an answer that goes on; echoes after that. */
function stream(socket: Socket): void {
  socket.once("data", (chunk: Buffer) => {
    socket.write(
      chunk.includes("Upgrade:")
        ? "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        : "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello",
    );
    socket.on("data", (more: Buffer) => socket.write(more));
  });
}

async function reconfigured(text: string): Promise<void> {
  expect(await proxy.reconfigure(text)).toBe(true);
}

const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

type Started = { readonly wire: Wire; readonly close: () => Promise<void> };

async function streaming(host: string, fields = ""): Promise<Started> {
  const wire = await dialPort(proxy.port);
  const authority = `${host}:${plain.port}`;
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
  await wire.until(() => wire.all.endsWith("hello"));
  expect(wire.all).toMatch(/hello$/);
  return { wire, close: () => wire[Symbol.asyncDispose]() };
}

async function tunnelled(host: string, fields = ""): Promise<Started> {
  const authority = `${host}:${secure.port}`;
  const wire = await openTunnel({
    port: proxy.port,
    target: authority,
    tls: { ca: [proxy.trustAnchor, ca.cert], servername: host },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  wire.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
  await wire.until(() => wire.all.endsWith("hello"));
  expect(wire.all).toMatch(/hello$/);
  return { wire, close: () => wire[Symbol.asyncDispose]() };
}

async function goesOn({ wire }: Started): Promise<void> {
  wire.held = "";
  wire.write("more");
  await wire.until(() => wire.held.endsWith("more"));
  expect(wire.held).toMatch(/more$/);
}

async function expectCut(started: Started, kinds: readonly string[]): Promise<void> {
  const { wire } = started;
  await wire.until(() => false);
  const records = await proxy.recorded((all) => {
    const found = exchanges(all.slice(recorded)).filter(
      ({ completion }) => completion?.["reason"] === "policy-changed",
    );
    return kinds.every((kind) => found.some(({ decision }) => decision["kind"] === kind));
  });
  for (const { completions } of exchanges(records)) expect(completions).toBeLessThan(2);
  await started.close();
}

const WAYS = [
  { name: "a streaming answer", start: streaming, upgrade: "", kinds: ["request"], more: "" },
  { name: "an upgraded connection", start: streaming, upgrade: UPGRADE, kinds: ["upgrade"], more: "" },
  {
    name: "a streaming answer in a tunnel",
    start: tunnelled,
    upgrade: "",
    kinds: ["connect", "request"],
    more: "",
  },
  {
    name: "an upgraded connection in a tunnel",
    start: tunnelled,
    upgrade: UPGRADE,
    kinds: ["connect", "upgrade"],
    more: "",
  },
  { name: "a spliced tunnel", start: tunnelled, upgrade: UPGRADE, kinds: ["connect"], more: splice },
];

test.each(WAYS)(
  "$name is cut where its host is no longer allowed",
  async ({ start, upgrade, kinds, more }) => {
    await reconfigured(both(more));
    const one = await start("one.test", upgrade);
    const two = await start("two.test", upgrade);
    expect(await proxy.reconfigure(onlyTwo(more === "" ? "" : ", splice: [two.test]"))).toBe(true);
    await expectCut(one, kinds);
    if (upgrade !== "") await goesOn(two);
    expect(two.wire.closed || two.wire.ended).toBe(false);
    await two.close();
    await proxy.recorded(settled);
  },
);

test("a spliced tunnel is cut where it is to be read from now on", async () => {
  expect(await proxy.reconfigure(both(splice))).toBe(true);
  const one = await tunnelled("one.test", UPGRADE);
  const two = await tunnelled("two.test", UPGRADE);
  expect(await proxy.reconfigure(both(", splice: [two.test]"))).toBe(true);
  await expectCut(one, ["connect"]);
  await goesOn(two);
  await two.close();
});

test("what goes to an address that is no longer allowed is cut", async () => {
  const one = await streaming("one.test", UPGRADE);
  await reconfigured(policy(`allow: [{ host: one.test }, ${rule("two.test")}]`));
  await expectCut(one, ["upgrade"]);
});

test("a method that is no longer allowed is cut in the middle of its body, and answered", async () => {
  const authority = `one.test:${plain.port}`;
  const arrived = once(await receives(), "arrived");
  await using wire = await dialPort(proxy.port);
  wire.write(
    `POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 1000\r\n\r\nbeginning`,
  );
  await arrived;
  await reconfigured(both("").replace("methods: all", "methods: read-only"));
  const answer = await wire.answer();
  expect(answer.status).toBe(403);
  expect(answer.field("sallyport-reason")).toBe("policy-changed");
  await proxy.recorded((all) =>
    exchanges(all).some(
      ({ decision, completion }) =>
        decision["method"] === "POST" &&
        completion?.["reason"] === "policy-changed" &&
        decision["verdict"] === "allow",
    ),
  );
});

/** An event once the origin got the beginning of a body, which it does not answer. */
async function receives(): Promise<NodeJS.EventEmitter> {
  const { EventEmitter } = await import("node:events");
  const events = new EventEmitter();
  plain.behave((socket) =>
    socket.on("data", (chunk: Buffer) => {
      if (chunk.includes("beginning")) events.emit("arrived");
    }),
  );
  return events;
}

test("a tunnel whose ClientHello is still awaited is cut", async () => {
  await using wire = await dialPort(proxy.port);
  const authority = `one.test:${secure.port}`;
  wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  expect((await wire.answer("CONNECT")).status).toBe(200);
  await reconfigured(onlyTwo());
  await expectCut({ wire, close: async () => {} }, ["connect"]);
});

test("a sandbox that is no longer known is cut off", async () => {
  await reconfigured(
    `${both("").replace("anonymous: default\n", "")}sandboxes: [{ id: a, secret: aaaaaaaaaaaaaaaa, policy: default }]\n`,
  );
  const known = `Proxy-Authorization: Basic ${Buffer.from("a:aaaaaaaaaaaaaaaa").toString("base64")}\r\n`;
  const one = await streaming("one.test", `${UPGRADE}${known}`);
  await reconfigured(
    `${both("").replace("anonymous: default\n", "")}sandboxes: [{ id: a, secret: bbbbbbbbbbbbbbbb, policy: default }]\n`,
  );
  await expectCut(one, ["upgrade"]);
});

test("stop lets an answer end, takes no new request, then closes", async () => {
  await using draining = await runSallyport(both("").replace("drain: 1s", "drain: 5s"));
  const authority = `one.test:${plain.port}`;
  let origin: Socket | undefined;
  plain.behave((socket) => {
    origin = socket;
    socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"));
  });
  await using idle = await dialPort(draining.port);
  await using wire = await dialPort(draining.port);
  const request = `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
  wire.write(request + request);
  await wire.until(() => wire.all.endsWith("abc"));
  const stopped = draining.sallyport.stop();
  await idle.until(() => false);
  origin?.write("def");
  expect(await wire.rest()).toMatch(/abcdef$/);
  wire.socket.destroy();
  await stopped;
  expect(settled(await draining.records())).toBe(true);
});
