// A policy that asks lets a tunnel begin to what no rule allows, so that the request in it can be judged. Until then nobody
// is asked for an address, nobody is dialed, and nothing passes unread.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createNameServer, type NameServer } from "../support/dns.ts";
import { question, readAnswer } from "../support/dns-messages.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let ca: Issued;
let origin: RecordingOrigin;
let names: NameServer;
let proxy: RunningSallyport;
let yaml: (ask: string) => string;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["missed.test"] }));
  origin.behave(answerRequests(() => OK));
  names = await createNameServer({ "missed.test": { a: ["127.0.0.1"] } });
  const trust = await trustFile(ca);
  yaml = (policy) => `
upstream: { trust: [${trust}], resolvers: ["${names.address}"] }
limits: { drain: 1s }
anonymous: default
transparent: [{ listen: "127.0.0.1:0", port: ${origin.port} }]
dns: { listen: "127.0.0.1:0", answer: [10.0.0.1] }
policies: { default: { preset: none, methods: all, ${policy} } }
`;
  proxy = await runSallyport(yaml("ask: refuse, splice: [missed.test]"));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await names[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.reset();
  names.asked.length = 0;
});

const NOBODY = { dialed: 0, received: "", asked: [] };
const reached = (): unknown => ({
  dialed: origin.connections,
  received: origin.received,
  asked: names.asked,
});

const decisions = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).length >= enough,
  );
  return exchanges(all.slice(recorded)).map(({ decision }) => decision);
};

const authority = (): string => `missed.test:${origin.port}`;

async function refusedInside(wire: Wire): Promise<void> {
  wire.write(`POST /x HTTP/1.1\r\nHost: ${authority()}\r\nContent-Length: 2\r\n\r\nhi`);
  const answer = await wire.answer();
  expect([answer.status, answer.field("sallyport-reason")]).toEqual([403, "approval-required"]);
  expect(reached()).toEqual(NOBODY);
  wire.socket.destroy();
  expect(await decisions(2)).toMatchObject([
    { kind: "connect", verdict: "allow", handling: "intercept", rule: { id: "ask" } },
    { kind: "request", verdict: "deny", reason: "approval-required" },
  ]);
}

async function secured(socket: Socket): Promise<Wire> {
  const tls = connectTls({ socket, ca: proxy.trustAnchor, servername: "missed.test" });
  await once(tls, "secureConnect");
  return new Wire(tls);
}

async function tunnelled(): Promise<Wire> {
  const tls = { ca: [proxy.trustAnchor], servername: "missed.test" };
  const wire = await openTunnel({ port: proxy.port, target: authority(), tls });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  return wire;
}

test("by CONNECT: a tunnel begins, and its request is refused", async () => {
  await refusedInside(await tunnelled());
});

test("by SOCKS5, with TLS in it", async () => {
  const wire = await dialPort(proxy.port);
  expect(await socks5(wire, { host: "missed.test", port: origin.port })).toBe(0);
  wire.socket.removeAllListeners("data");
  await refusedInside(await secured(wire.socket));
});

test("by SOCKS5, with HTTP in it", async () => {
  const wire = await dialPort(proxy.port);
  expect(await socks5(wire, { host: "missed.test", port: origin.port })).toBe(0);
  await refusedInside(wire);
});

test("redirected", async () => {
  const { socket } = await dialPort(proxy.sallyport.transparent[0]?.port ?? 0);
  socket.removeAllListeners("data");
  await refusedInside(await secured(socket));
});

test("by DNS: the name is answered, and nobody is asked", async () => {
  const socket = createSocket("udp4");
  socket.send(question("missed.test"), proxy.sallyport.dns[0]?.port ?? 0, "127.0.0.1");
  const [octets] = (await once(socket, "message")) as [Buffer];
  socket.close();
  expect(readAnswer(octets)).toMatchObject({ rcode: 0 });
  expect(reached()).toEqual(NOBODY);
  expect(await decisions(1)).toMatchObject([{ kind: "dns", verdict: "allow", rule: { id: "ask" } }]);
});

test("what is no TLS in a CONNECT goes nowhere", async () => {
  await using wire = await dialPort(proxy.port);
  wire.write(`CONNECT missed.test:22 HTTP/1.1\r\nHost: missed.test:22\r\n\r\n`);
  expect((await wire.answer("CONNECT")).status).toBe(200);
  wire.write("SSH-2.0-client\r\n");
  await wire.rest();
  expect(reached()).toEqual(NOBODY);
  expect(await decisions(2)).toMatchObject([{ verdict: "allow" }, { verdict: "deny", reason: "not-tls" }]);
});

test("an address literal begins no tunnel", async () => {
  await using wire = await dialPort(proxy.port);
  const target = `127.0.0.1:${origin.port}`;
  wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  expect((await wire.answer()).field("sallyport-reason")).toBe("address-literal");
  expect(reached()).toEqual(NOBODY);
});

test("a policy that asks no longer cuts the tunnel that was let begin", async () => {
  const wire = await tunnelled();
  expect(await proxy.reconfigure(yaml("ask: refuse"))).toBe(true);
  wire.write(`GET / HTTP/1.1\r\nHost: ${authority()}\r\n\r\n`);
  expect((await wire.answer()).status).toBe(403);
  expect(await proxy.reconfigure(yaml("ask: never"))).toBe(true);
  await wire.rest();
  wire.socket.destroy();
  expect(reached()).toEqual(NOBODY);
});

test("a tunnel that was let pass unread is cut where it would now be asked about", async () => {
  const local = "{ host: missed.test, networks: [127.0.0.0/8] }";
  expect(await proxy.reconfigure(yaml(`allow: [${local}], splice: [missed.test]`))).toBe(true);
  const tls = { ca: [ca.cert], servername: "missed.test" };
  const wire = await openTunnel({ port: proxy.port, target: authority(), tls });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  expect(await proxy.reconfigure(yaml("ask: wait, splice: [missed.test]"))).toBe(true);
  await wire.rest();
  wire.socket.destroy();
  const last = (await proxy.recorded(settled)).findLast(({ type }) => type === "completion");
  expect(last).toMatchObject({ reason: "policy-changed" });
});
