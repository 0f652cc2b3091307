// Where two parts meet: raw TCP and redirected connections, SOCKS5 and the proxy's own listeners, client certificates and
// credentials and HTTP/2, PROXY headers where nobody asked for them. What each part refuses by itself is refused together.

import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { Frames } from "../support/http2-frames.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { recordingParent, type RecordingParent } from "../support/recording-parent.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { tlsToProxy } from "../support/ways/tls-door.ts";

let ca: Issued;
let trust: string;
let secure: RecordingOrigin;
let plain: RecordingOrigin;
let parent: RecordingParent;

beforeAll(async () => {
  ca = createCa();
  trust = await trustFile(ca);
  secure = await recordingOrigin(ca.issue({ names: ["raw.test", "origin.test"] }));
  plain = await recordingOrigin();
  parent = await recordingParent();
});
afterAll(async () => {
  for (const one of [secure, plain, parent]) await one[Symbol.asyncDispose]();
});
beforeEach(() => {
  for (const one of [secure, plain, parent]) one.reset();
});

async function within(proxy: RunningSallyport, before: number, enough = 1) {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(before)).length >= enough,
  );
  return exchanges(all.slice(before));
}

async function secured(socket: Socket, servername: string, anchor: string | string[]): Promise<TLSSocket> {
  socket.removeAllListeners("data");
  const tls = connectTls({ socket, servername, ca: anchor });
  tls.on("error", () => {});
  await new Promise((resolve) => tls.once("secureConnect", resolve).once("close", resolve));
  return tls;
}

describe("a tcp rule and a redirected connection", () => {
  let proxy: RunningSallyport;
  let before = 0;
  const yaml = (rule: string): string => `
upstream: { trust: [${trust}], hosts: { raw.test: [127.0.0.1], inner.test: [10.1.2.3] } }
anonymous: default
limits: { drain: 1s, handshake: 1s, head_time: 1s }
transparent:
  - { listen: "127.0.0.1:0", port: ${secure.port} }
  - { listen: "127.0.0.1:0", port: ${plain.port} }
policies:
  default:
    preset: none
    methods: all
    tcp: [${rule}]
`;
  const rule = (port: number): string =>
    `{ host: raw.test, ports: [${port}], networks: [127.0.0.0/8] }, { host: inner.test, ports: [${port}] }`;
  const dialed = (at: number): Promise<Wire> => dialPort(proxy.sallyport.transparent[at]?.port ?? 0);

  beforeAll(async () => {
    proxy = await runSallyport(yaml(rule(secure.port)));
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    expect(await proxy.reconfigure(yaml(rule(secure.port)))).toBe(true);
    before = (await proxy.recorded(settled)).length;
  });

  test("TLS is passed unread, to the address of its server name, and cut where the rule is gone", async () => {
    const outer = await dialed(0);
    const tls = await secured(outer.socket, "raw.test", ca.cert);
    await using wire = new Wire(tls);
    wire.write("GET / HTTP/1.1\r\nHost: whatever.test\r\n\r\n");
    expect((await wire.answer()).status).toBe(200);
    expect(secure.received).toContain("Host: whatever.test\r\n");
    expect(await proxy.reconfigure(yaml(rule(1)))).toBe(true);
    await wire.until(() => false);
    const [connect] = await within(proxy, before);
    expect(connect?.decision).toMatchObject({ handling: "tcp", way: "transparent", host: "raw.test" });
    expect(connect?.completion).toMatchObject({ outcome: "refused", reason: "policy-changed" });
  });

  test.each([
    ["a name that no rule has", "other.test", "host-not-allowed"],
    ["an address that no rule has", "inner.test", "address-private"],
  ])("%s is refused, and nobody is reached", async (_name, servername, reason) => {
    const outer = await dialed(0);
    const tls = await secured(outer.socket, servername, ca.cert);
    expect(tls.authorized).toBe(false);
    outer.socket.destroy();
    expect((await within(proxy, before))[0]?.decision).toMatchObject({ verdict: "deny", reason });
    expect(secure.connections).toBe(0);
  });

  test("HTTP is judged as such, which a tcp rule does not allow", async () => {
    expect(await proxy.reconfigure(yaml(rule(plain.port)))).toBe(true);
    await using wire = await dialed(1);
    wire.write(`GET / HTTP/1.1\r\nHost: raw.test:${plain.port}\r\n\r\n`);
    expect((await wire.answer()).field("sallyport-reason")).toBe("host-not-allowed");
    expect(plain.connections).toBe(0);
  });
});

describe("the proxy's own listeners (invariant 8)", () => {
  const LITERALS = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::7f00:1]"];
  let proxy: RunningSallyport;
  let ports: readonly number[] = [];
  const yaml = (more: string): string => `
upstream:
  trust: [${trust}]
  hosts: { own.test: [127.0.0.1], own6.test: ["::ffff:127.0.0.1"] }
${more}
anonymous: default
limits: { drain: 1s }
transparent: [{ listen: "127.0.0.1:0", port: 443 }]
dns: { listen: "127.0.0.1:0", answer: [127.0.0.7] }
policies:
  default:
    preset: none
    methods: all
    tcp:
${["own.test", "own6.test", "127.0.0.7", ...LITERALS.map((one) => one.replace(/^\[(.*)\]$/, "$1"))]
  .map(
    (host) =>
      `      - { host: "${host}", ports: [${[1, 443, ...ports].join(", ")}], networks: [127.0.0.0/8, "::1/128", "::/96", "::ffff:127.0.0.0/120", 0.0.0.0/8] }`,
  )
  .join("\n")}
`;

  beforeAll(async () => {
    proxy = await runSallyport(yaml(""));
    const { transparent, dns } = proxy.sallyport;
    ports = [proxy.port, proxy.adminPort, transparent[0]?.port ?? 0, dns[0]?.port ?? 0];
  });
  afterAll(() => proxy[Symbol.asyncDispose]());

  const byName = (): string => `  parent: { url: "http://127.0.0.1:${parent.port}", address: name }`;
  const judged = (): string => `  parent: "http://127.0.0.1:${parent.port}"`;
  test.each([
    ["straight", () => ""],
    ["through a parent that is told addresses", judged],
    ["through a parent that is told names", byName],
  ])("%s, by SOCKS5, every listener by every address", async (_name, more) => {
    expect(await proxy.reconfigure(yaml(more()))).toBe(true);
    let before = (await proxy.recorded(settled)).length;
    for (const host of ["own.test", "own6.test", "127.0.0.7", ...LITERALS])
      for (const port of host === "127.0.0.7" ? [443] : ports) {
        await using wire = await dialPort(proxy.port);
        expect([host, port, await socks5(wire, { host, port })]).toEqual([host, port, 2]);
        const [refused] = await within(proxy, before);
        const reason = String(refused?.decision["reason"]);
        expect([host, reason]).toEqual([host, "address-own"]);
        before = (await proxy.records()).length;
      }
    expect(parent.connections).toBe(0);
  });
});

describe("a client certificate, credentials and HTTP/2", () => {
  const clients = createCa();
  const certificate = clients.issue({ names: ["a.sandboxes.test"], usage: "clientAuth" });
  let proxy: RunningSallyport;
  let before = 0;
  beforeAll(async () => {
    proxy = await runSallyport(`
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1] } }
tls: { names: [proxy.test], client_ca: ${await trustFile(clients)} }
proxy_protocol: [127.0.0.2]
http2: always
limits: { drain: 1s, head_time: 1s }
sandboxes:
  - { id: a, secret: secret-of-a-0000, policy: default, certificate: "DNS:a.sandboxes.test" }
  - { id: b, secret: secret-of-b-0000, policy: default }
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    before = (await proxy.recorded(settled)).length;
  });

  const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;
  const enter = async (): Promise<Wire> => {
    const { key, chain: cert } = certificate;
    const socket = await tlsToProxy(proxy.port, {
      ca: proxy.trustAnchor,
      servername: "proxy.test",
      key,
      cert,
    });
    if (!(socket instanceof TLSSocket)) throw socket;
    return new Wire(socket);
  };
  const connect = async (wire: Wire, fields = ""): Promise<number> => {
    const target = `origin.test:${secure.port}`;
    wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`);
    return (await wire.answer("CONNECT")).status;
  };

  test.each([
    ["another sandbox's, right", basic("b:secret-of-b-0000")],
    ["its own, wrong", basic("a:secret-of-b-0000")],
    ["none at all in the field", ""],
  ])("credentials beside it: %s", async (_name, value) => {
    await using wire = await enter();
    expect(await connect(wire, `Proxy-Authorization: ${value}\r\n`)).toBe(407);
    const [refused] = await within(proxy, before);
    expect(refused?.decision).toMatchObject({ verdict: "deny", reason: "credentials-wrong" });
    expect(refused?.decision["sandbox"]).toBeUndefined();
    expect(secure.connections).toBe(0);
  });

  test("what a stream inside says of itself makes it nobody else, and does not leave", async () => {
    await using wire = await enter();
    expect(await connect(wire)).toBe(200);
    wire.socket.removeAllListeners("data");
    const tls = connectTls({
      socket: wire.socket,
      servername: "origin.test",
      ca: proxy.trustAnchor,
      ALPNProtocols: ["h2"],
    });
    await once(tls, "secureConnect");
    using frames = Frames.over({ socket: tls, all: "" }, `origin.test:${secure.port}`);
    frames.headers(1, [...frames.request(), ["proxy-authorization", basic("b:secret-of-b-0000")]]);
    expect((await frames.outcome(1)).status).toBe(200);
    tls.destroy();
    wire.socket.destroy();
    const found = await within(proxy, before, 2);
    expect(found.map(({ decision }) => decision["sandbox"])).toEqual(["a", "a"]);
    expect(secure.received).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
    expect(secure.received).not.toMatch(/proxy-authorization|YjpzZWNyZXQ/i);
  });

  test.each([
    ["from nobody's balancer", () => dialPort(proxy.port)],
    ["inside TLS to the proxy", enter],
  ])("a PROXY header %s is no request", async (_name, open) => {
    await using wire = await open();
    wire.write(`${textHeader("198.51.100.7")}GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n`);
    expect((await wire.answer()).status).toBe(400);
    const [refused] = await within(proxy, before);
    expect(refused?.decision).toMatchObject({ kind: "malformed", verdict: "deny" });
    expect(refused?.decision["source"]).toMatch(/^127\.0\.0\.1:/);
  });
});
