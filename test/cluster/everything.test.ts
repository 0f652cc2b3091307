// All that can be configured at once, with two workers: it starts, serves each way in, reloads, and of what is secret nothing
// stands in its log, its records or its metrics.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { dialPort, Wire } from "../proxy/wire.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { question, readAnswer } from "../support/dns-messages.ts";
import { ask, http2Client } from "../support/http2.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingHttp2Origin, type RecordingHttp2Origin } from "../support/recording-http2-origin.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { recordingParent, type RecordingParent } from "../support/recording-parent.ts";
import { textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { allRecords } from "./support.ts";

// Several processes start, each of which compiles what it runs.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SECRET = "secret-of-one-sandbox";
const PASSWORD = "password-of-the-parent";
const NAMES = ["a.test", "far.test"];
const client = createCa();
const certificate = client.issue({ names: ["two.sandboxes.test"], usage: "clientAuth" });
let ca: Issued;
let directory: string;
let child: Child;
let trustAnchor: string;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
let http2: RecordingHttp2Origin;
let parent: RecordingParent;
/** In the order of the configuration: HTTPS, HTTP. */
let redirected: number[];
let dns: number;

beforeAll(async () => {
  ca = createCa();
  directory = await mkdtemp(join(tmpdir(), "sallyport-everything-"));
  await writeFile(join(directory, "trust.pem"), ca.cert);
  await writeFile(join(directory, "clients.pem"), client.cert);
  plain = await recordingOrigin();
  secure = await recordingOrigin(ca.issue({ names: NAMES }));
  http2 = await recordingHttp2Origin(ca.issue({ names: NAMES }));
  parent = await recordingParent();
  await writeConfig(directory, yaml(["a.test", "far.test"]));
  child = await startChild(directory);
  trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const ports = (of: string): number[] =>
    child.log
      .filter((line) => line.includes(`"msg":"${of}"`))
      .map((line) => Number(/"port":(\d+)/.exec(line)?.[1]));
  redirected = ports("transparent listening");
  [dns = 0] = ports("dns listening");
});

afterAll(async () => {
  child.signal("SIGKILL");
  await child.ended;
  for (const one of [plain, secure, http2, parent]) await one[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const yaml = (hosts: readonly string[]): string => `
workers: 2
http2: auto
tls: { names: [proxy.test], client_ca: clients.pem }
proxy_protocol: [127.0.0.2]
transparent:
  - { listen: "127.0.0.1:0", port: ${secure.port}, sandbox: one }
  - { listen: "127.0.0.1:0", port: ${plain.port}, sandbox: one }
dns: { listen: "127.0.0.1:0", answer: [10.9.9.9], sandbox: one }
upstream:
  trust: [trust.pem]
  hosts: { a.test: [127.0.0.1], far.test: [127.0.0.1] }
  routes: [{ host: far.test, parent: "http://agent:${PASSWORD}@127.0.0.1:${parent.port}" }]
sandboxes:
  - { id: one, secret: ${SECRET}, policy: default }
  - { id: two, certificate: "DNS:two.sandboxes.test", policy: default }
policies:
  default:
    preset: none
    methods: all
    allow: [${hosts.map((host) => `{ host: ${host}, networks: [127.0.0.0/8] }`).join(", ")}]
    tcp: [{ host: 127.0.0.1, ports: [${plain.port}], reason: a database }]
`;

const basic = Buffer.from(`one:${SECRET}`).toString("base64");
const CREDENTIALS = `Proxy-Authorization: Basic ${basic}\r\n`;

async function tls(socket: Socket, options: ConnectionOptions = {}): Promise<Wire> {
  const secured: TLSSocket = connectTls({ socket, ca: trustAnchor, ...options });
  await once(secured, "secureConnect");
  return new Wire(secured);
}

/** A request; with a parent's or a proxy's host where it is absolute. */
async function get(wire: Wire, { host = "a.test", port = secure.port, absolute = "", fields = "" } = {}) {
  wire.write(`GET ${absolute}/ HTTP/1.1\r\nHost: ${host}:${port}\r\n${fields}\r\n`);
  return (await wire.answer()).status;
}

async function tunnelled(wire: Wire, { host = "a.test", fields = CREDENTIALS } = {}): Promise<number> {
  const target = `${host}:${secure.port}`;
  wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`);
  expect((await wire.answer("CONNECT")).status).toBe(200);
  wire.socket.removeAllListeners("data");
  await using inner = await tls(wire.socket, { servername: host });
  return await get(inner, { host });
}

async function overHttp2(host: string): Promise<number> {
  const authority = `${host}:${http2.port}`;
  using one = await http2Client(child.port, { authority, trustAnchor, headers: CREDENTIALS });
  const before = http2.received;
  const { status } = await ask(one.session);
  expect(http2.received).toBe(`${before}GET /\n`);
  return status;
}

const WAYS: Readonly<Record<string, () => Promise<unknown>>> = {
  "an absolute request": async () => {
    await using wire = await dialPort(child.port);
    const absolute = `http://a.test:${plain.port}`;
    return await get(wire, { port: plain.port, absolute, fields: CREDENTIALS });
  },
  "a tunnel": async () => {
    await using wire = await dialPort(child.port);
    return await tunnelled(wire);
  },
  "a tunnel through the parent": async () => {
    await using wire = await dialPort(child.port);
    const status = await tunnelled(wire, { host: "far.test" });
    // One that is kept serves more than one request.
    expect(parent.heads.join("")).toContain(
      `Proxy-Authorization: Basic ${Buffer.from(`agent:${PASSWORD}`).toString("base64")}\r\n`,
    );
    expect(parent.received).not.toContain(basic);
    return status;
  },
  "HTTP/2 on both sides": () => overHttp2("a.test"),
  "HTTP/2 on both sides, through the parent": () => overHttp2("far.test"),
  "SOCKS5 with HTTP": async () => {
    await using wire = await dialPort(child.port);
    expect(await socks5(wire, { host: "a.test", port: plain.port, credentials: `one:${SECRET}` })).toBe(0);
    return await get(wire, { port: plain.port });
  },
  "SOCKS5 with raw TCP": async () => {
    await using wire = await dialPort(child.port);
    expect(await socks5(wire, { host: "127.0.0.1", port: plain.port, credentials: `one:${SECRET}` })).toBe(0);
    return await get(wire, { host: "whatever", port: plain.port });
  },
  "TLS to the proxy with a client certificate": async () => {
    const { key, chain: cert } = certificate;
    const socket = connect({ port: child.port, host: "127.0.0.1" });
    await using wire = await tls(socket, { servername: "proxy.test", key, cert });
    return await tunnelled(wire, { fields: "" });
  },
  "a connection behind a balancer": async () => {
    const socket = connect({ port: child.port, host: "127.0.0.1", localAddress: "127.0.0.2" });
    await using wire = new Wire(socket);
    wire.write(textHeader("198.51.100.7"));
    return await tunnelled(wire);
  },
  "redirected TLS": async () => {
    const socket = connect({ port: redirected[0] ?? 0, host: "127.0.0.1" });
    await using wire = await tls(socket, { servername: "a.test" });
    return await get(wire);
  },
  "redirected HTTP": async () => {
    await using wire = await dialPort(redirected[1] ?? 0);
    return await get(wire, { port: plain.port });
  },
  "a question": async () => {
    const socket = createSocket("udp4");
    socket.send(question("a.test"), dns, "127.0.0.1");
    const [octets] = (await once(socket, "message")) as [Buffer];
    socket.close();
    expect(readAnswer(octets)).toMatchObject({ rcode: 0, addresses: ["10.9.9.9"] });
    return 200;
  },
};

test.each(Object.entries(WAYS))("%s", async (_name, way) => {
  // Either worker takes some of them.
  for (let time = 0; time < 4; time++) expect(await way()).toBe(200);
});

test("what one worker is told all know: a reload", async () => {
  await writeConfig(directory, yaml(["far.test"]));
  // By the file's change, by the signal, or by each.
  child.signal("SIGHUP");
  await child.logged(/"generation":2\b/);
  await expect
    .poll(async () => {
      const answer = await fetch(`http://127.0.0.1:${child.adminPort}/readyz`);
      return ((await answer.json()) as { generation: number }).generation;
    })
    .toBeGreaterThanOrEqual(2);
  for (let time = 0; time < 6; time++) {
    await using wire = await dialPort(child.port);
    const target = `a.test:${secure.port}`;
    wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${CREDENTIALS}\r\n`);
    expect((await wire.answer("CONNECT")).field("sallyport-reason")).toBe("host-not-allowed");
    expect(await WAYS["a tunnel through the parent"]?.()).toBe(200);
  }
});

test("no secret stands in logs, records or metrics; the records know who it was", async () => {
  const audit = join(directory, "data", "audit");
  const files = (await readdir(audit, { recursive: true })).filter((name) => name.endsWith(".jsonl"));
  expect(files.length).toBeGreaterThanOrEqual(3);
  const texts = await Promise.all(files.map((name) => readFile(join(audit, name), "utf8")));
  const metrics = await (await fetch(`http://127.0.0.1:${child.adminPort}/metrics`)).text();
  const all = [...texts, metrics, child.log.join("\n"), plain.received, secure.received].join("\n");
  const encoded = [basic, Buffer.from(`agent:${PASSWORD}`).toString("base64")];
  for (const secret of [SECRET, PASSWORD, ...encoded]) expect(all).not.toContain(secret);

  const decisions = (await allRecords(audit)).filter(({ type }) => type === "decision");
  const by = (field: string) => new Set(decisions.map((record: AuditRecord) => record[field]));
  expect(by("sandbox")).toEqual(new Set(["one", "two"]));
  expect([...by("source")].some((source) => String(source).startsWith("198.51.100.7:"))).toBe(true);
  expect([...by("parent")]).toContain(`127.0.0.1:${parent.port}`);
  expect(by("kind")).toEqual(new Set(["request", "connect", "dns"]));
});
