// Behind a parent proxy everything holds that holds without one: what is denied never reaches it, what is allowed reaches it
// as a CONNECT to the address that was judged, and its credentials reach nobody else.

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { hostname } from "node:os";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { createNameServer } from "../support/dns.ts";
import { createCa, createSelfSigned, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import {
  openTunnels,
  parentSays,
  recordingParent,
  type ParentBehaviour,
  type RecordingParent,
} from "../support/recording-parent.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { answers, tunnelWire, wire } from "../support/wire.ts";
import { trustFile } from "../support/trust-file.ts";

const PASSWORD = "pa@ss:w/ord%41";
const TOKEN = Buffer.from(`agent:${PASSWORD}`).toString("base64");
const ca = createCa();
const dns = await createNameServer({ "broken.test": "SERVFAIL" });
const names = ["origin.test", "spliced.test", "straight.test", "far.test"];

let secureOrigin: RecordingOrigin;
let plainOrigin: RecordingOrigin;
let parent: RecordingParent;
let other: RecordingParent;
let trust: string;
let proxy: RunningSallyport;

const policies = `
anonymous: default
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow:
      - { host: "**.test", networks: [127.0.0.0/8] }
      - { host: localhost, networks: [127.0.0.0/8] }
      - metadata.google.internal
      - ${hostname().toLowerCase()}
      - { host: 127.0.0.1 }
    deny: [{ host: origin.test, paths: [/*/denied] }]
`;
const upstream = (more: string): string => `
limits: { drain: 100ms }
upstream:
  trust: [${trust}]
  resolvers: ["${dns.address}"]
  hosts: { ${names.map((name) => `${name}: [127.0.0.1]`).join(", ")}, inside.test: [10.1.2.3] }
${more}
${policies}`;

const usual = (): string =>
  upstream(`
  parent: "http://agent:\${PARENT_PASSWORD}@127.0.0.1:${parent.port}"
  routes:
    - { host: straight.test, parent: direct }
    - { host: far.test, ports: [${plainOrigin.port}], parent: "http://127.0.0.1:${other.port}" }
`);

beforeAll(async () => {
  process.env["PARENT_PASSWORD"] = PASSWORD;
  secureOrigin = await recordingOrigin(ca.issue({ names }));
  plainOrigin = await recordingOrigin();
  parent = await recordingParent();
  other = await recordingParent();
  trust = await trustFile(ca);
  proxy = await runSallyport(usual());
});
afterAll(async () => {
  for (const one of [proxy, dns, parent, other, secureOrigin, plainOrigin]) await one[Symbol.asyncDispose]();
});
beforeEach(async () => {
  for (const one of [parent, other]) one.hangUp();
  // No test is served by the tunnel of another.
  while (!/^sallyport_upstream_connections_open 0$/m.test(await proxy.metrics()));
  for (const one of [parent, other, secureOrigin, plainOrigin]) one.reset();
  for (const one of [parent, other]) one.behave(openTunnels());
  for (const one of [secureOrigin, plainOrigin]) one.behave(answerRequests(() => OK));
});

const head = (address: string, port: number, credentials = true): string =>
  `CONNECT ${address}:${port} HTTP/1.1\r\nHost: ${address}:${port}\r\n${
    credentials ? `Proxy-Authorization: Basic ${TOKEN}\r\n` : ""
  }\r\n`;

let asked = 0;
/** One plain request; the answer whole, and its records. */
async function plain(host: string, { port = plainOrigin.port, path = "", through = proxy } = {}) {
  using one = await wire(through.port);
  const target = `/${++asked}${path}`;
  one.send(`GET http://${host}:${port}${target} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  const answer = answers(await one.until((text) => answers(text).length === 1))[0] ?? "";
  return { answer, records: await recordsOf(target, through) };
}

/** One request inside a tunnel. */
async function tunnelled(
  host: string,
  { port = secureOrigin.port, path = "", through = proxy, headers = "" } = {},
) {
  using one = await tunnelWire(through.port, {
    authority: `${host}:${port}`,
    trustAnchor: through.trustAnchor,
    headers,
  });
  const target = `/${++asked}${path}`;
  one.send(`GET ${target} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  const answer = answers(await one.until((text) => answers(text).length === 1))[0] ?? "";
  return { answer, records: await recordsOf(target, through) };
}

async function recordsOf(path: string, through: RunningSallyport) {
  const found = (all: Awaited<ReturnType<RunningSallyport["records"]>>) => {
    const id = all.find((one) => one["path"] === path)?.["id"];
    return all.filter((one) => one["id"] === id);
  };
  return found(await through.recorded((all) => found(all).length === 2));
}

function expectReason(answer: string, reason: Reason): void {
  const { status, proxyError } = REASONS[reason];
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^\r\n]*\\(sallyport: ${reason}\\)\r\n`));
  expect(answer).toContain(`\r\nProxy-Status: sallyport; error=${proxyError}; details="${reason}"\r\n`);
  const said = answer.replace(/^ {2}request: .*$/m, "");
  expect(said).not.toMatch(/127\.0\.0\.1|agent|pa@ss|\.ts\b|    at /);
}

describe("what is allowed goes through it, to the address that was judged", () => {
  test("plain", async () => {
    const { answer, records } = await plain("origin.test");
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(parent.heads).toEqual([head("127.0.0.1", plainOrigin.port)]);
    expect(plainOrigin.received).toContain(`Host: origin.test:${plainOrigin.port}\r\n`);
    const name = `127.0.0.1:${parent.port}`;
    expect(records[0]).toMatchObject({ verdict: "allow", addresses: ["127.0.0.1"], parent: name });
    expect(records[0]).not.toHaveProperty("unresolved");
    expect(records[1]).toMatchObject({ outcome: "completed", address: "127.0.0.1" });
  });

  test("intercepted: the origin is verified by name, end to end", async () => {
    const { answer } = await tunnelled("origin.test");
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(parent.heads).toEqual([head("127.0.0.1", secureOrigin.port)]);
    // What follows is TLS of ours.
    expect(parent.received.slice(parent.heads[0]?.length, (parent.heads[0]?.length ?? 0) + 2)).toBe(
      "\x16\x03",
    );
    expect(parent.received).not.toMatch(/GET|origin\.test:\d/);
  });

  test("spliced", async () => {
    using outer = await wire(proxy.port);
    const authority = `spliced.test:${secureOrigin.port}`;
    outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await outer.until((text) => text.includes("\r\n\r\n"));
    outer.socket.removeAllListeners("data");
    const secured = connectTls({ socket: outer.socket, servername: "spliced.test", ca: ca.cert });
    secured.on("error", () => {});
    secured.write("GET / HTTP/1.1\r\nHost: spliced.test\r\n\r\n");
    const [data] = (await once(secured, "data")) as [Buffer];
    expect(data.toString()).toBe(OK);
    secured.destroy();
    expect(parent.heads).toEqual([head("127.0.0.1", secureOrigin.port)]);
  });

  test("upgraded, both ways", async () => {
    secureOrigin.behave((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        socket.on("data", (chunk: Buffer) => socket.write(chunk));
      });
    });
    const authority = `origin.test:${secureOrigin.port}`;
    using one = await tunnelWire(proxy.port, { authority, trustAnchor: proxy.trustAnchor });
    one.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n`);
    await one.until((text) => text.includes("\r\n\r\n"));
    one.send("there and back");
    expect(await one.until((text) => text.endsWith("back"))).toMatch(/^HTTP\/1\.1 101 .*there and back$/s);
    expect(parent.heads).toHaveLength(1);
  });

  test("a tunnel to an origin serves the sandbox's next request", async () => {
    using one = await wire(proxy.port);
    const host = `origin.test:${plainOrigin.port}`;
    for (const count of [1, 2]) {
      one.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await one.until((text) => answers(text).length === count);
    }
    expect([parent.connections, plainOrigin.connections]).toEqual([1, 1]);
  });

  test("the parent's credentials reach the parent alone", async () => {
    using one = await wire(proxy.port);
    const host = `origin.test:${plainOrigin.port}`;
    one.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    await one.rest();
    await tunnelled("origin.test");
    const said = `${plainOrigin.received}${secureOrigin.received}${one.received}${await proxy.metrics()}`;
    const written = JSON.stringify(await proxy.records()) + said;
    expect(said).toContain("GET / HTTP/1.1");
    for (const secret of [TOKEN, PASSWORD, encodeURIComponent(PASSWORD)])
      expect(written).not.toContain(secret);
    expect(parent.heads.join("")).toContain(TOKEN);
  });
});

describe("what is denied does not reach it", () => {
  test.each<[string, () => Promise<{ answer: string }>, Reason]>([
    ["a host", () => plain("other.example"), "host-not-allowed"],
    ["a path", () => tunnelled("origin.test", { path: "/denied" }), "host-denied"],
    ["a private address", () => plain("inside.test"), "address-private"],
    ["a private address, inside a tunnel", () => tunnelled("inside.test"), "address-private"],
    ["the proxy itself", () => plain("origin.test", { port: proxy.port }), "address-own"],
    ["a metadata address", () => plain("169.254.169.254"), "address-literal"],
  ])("%s", async (_name, ask, reason) => {
    const { answer } = await ask();
    expectReason(answer, reason);
    expect([parent.connections, parent.received, plainOrigin.connections]).toEqual([0, "", 0]);
  });

  test.each<[string, Reason]>([
    ["missing.test", "dns-not-found"],
    ["broken.test", "dns-failed"],
  ])("%s: a DNS error never becomes a name for the parent to resolve", async (host, reason) => {
    expectReason((await plain(host)).answer, reason);
    expectReason((await tunnelled(host)).answer, reason);
    expect([parent.connections, parent.received]).toEqual([0, ""]);
  });
});

describe("routes", () => {
  test("`direct` goes straight", async () => {
    const { answer, records } = await plain("straight.test");
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect([parent.connections, other.connections, plainOrigin.connections]).toEqual([0, 0, 1]);
    expect(records[0]).not.toHaveProperty("parent");
  });

  test("another parent for a host and port, without the first one's credentials", async () => {
    expect((await plain("far.test")).answer).toMatch(/^HTTP\/1\.1 200 /);
    expect([parent.connections, other.heads]).toEqual([0, [head("127.0.0.1", plainOrigin.port, false)]]);
    // The route is for one port.
    expect((await tunnelled("far.test")).answer).toMatch(/^HTTP\/1\.1 200 /);
    expect([parent.connections, other.connections]).toEqual([1, 1]);
  });

  test("a new configuration never uses the old one's connections", async () => {
    await using moving = await runSallyport(usual());
    await plain("origin.test", { through: moving });
    await plain("origin.test", { through: moving });
    expect([parent.connections, other.connections]).toEqual([1, 0]);
    expect(await moving.reconfigure(upstream(`  parent: "http://127.0.0.1:${other.port}"`))).toBe(true);
    await plain("origin.test", { through: moving });
    expect([parent.connections, other.connections]).toEqual([1, 1]);
    // Of two configurations that differ in credentials alone, too.
    for (const [password, connections] of [
      ["first", 2],
      ["second", 3],
    ] as const) {
      expect(
        await moving.reconfigure(upstream(`  parent: "http://agent:${password}@127.0.0.1:${other.port}"`)),
      ).toBe(true);
      await plain("origin.test", { through: moving });
      expect(other.connections).toBe(connections);
      const token = Buffer.from(`agent:${password}`).toString("base64");
      expect(other.heads.at(-1)).toContain(`\r\nProxy-Authorization: Basic ${token}\r\n`);
    }
  });

  test("the machine's own proxy variables are nobody's choice", async () => {
    process.env["HTTPS_PROXY"] = process.env["HTTP_PROXY"] = `http://127.0.0.1:${parent.port}`;
    await using free = await runSallyport(upstream(""));
    expect((await plain("origin.test", { through: free })).answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(parent.connections).toBe(0);
    delete process.env["HTTPS_PROXY"];
    delete process.env["HTTP_PROXY"];
  });
});

describe("address: name", () => {
  let named: RunningSallyport;
  beforeAll(async () => {
    named = await runSallyport(
      upstream(`
  parent: { url: "http://127.0.0.1:${parent.port}", address: name }`).replace(
        "origin.test: [127.0.0.1], ",
        "",
      ),
    );
  });
  afterAll(() => named[Symbol.asyncDispose]());
  beforeEach(() => parent.behave(openTunnels({ "origin.test": "127.0.0.1" })));

  test("the parent is told the name, and the record says that nobody judged where it leads", async () => {
    for (const ask of [plain, tunnelled]) {
      parent.reset();
      const { answer, records } = await ask("origin.test", { through: named });
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      const port = ask === plain ? plainOrigin.port : secureOrigin.port;
      expect(parent.heads).toEqual([head("origin.test", port, false)]);
      expect(records[0]).toMatchObject({ verdict: "allow", addresses: [], unresolved: true });
      expect(records[0]).toHaveProperty("parent", `127.0.0.1:${parent.port}`);
      expect(records[1]).not.toHaveProperty("address");
    }
  });

  test("an idle tunnel serves again", async () => {
    using one = await wire(named.port);
    const host = `origin.test:${plainOrigin.port}`;
    for (const count of [1, 2]) {
      one.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await one.until((text) => answers(text).length === count);
    }
    expect(plainOrigin.connections).toBeLessThanOrEqual(1);
  });

  test("what is known here is judged here, and its address told", async () => {
    const { answer, records } = await plain("far.test", { through: named });
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(parent.heads).toEqual([head("127.0.0.1", plainOrigin.port, false)]);
    expect(records[0]).toMatchObject({ addresses: ["127.0.0.1"] });
    expect(records[0]).not.toHaveProperty("unresolved");
    parent.reset();
    expectReason((await plain("inside.test", { through: named })).answer, "address-private");
    expect(parent.connections).toBe(0);
  });

  test.each<[string, Reason]>([
    ["metadata.google.internal", "address-metadata"],
    ["169.254.169.254", "address-literal"],
    ["[::ffff:127.0.0.1]", "address-literal"],
    ["a.localhost", "host-not-allowed"],
  ])("%s is refused by its name", async (host, reason) => {
    const { answer } = await plain(host, { through: named });
    expectReason(answer, reason);
    expect([parent.connections, parent.received]).toEqual([0, ""]);
  });

  test("localhost, this machine and the proxy itself are judged as addresses", async () => {
    for (const host of ["localhost", "127.0.0.1"]) {
      const { answer } = await plain(host, { port: named.port, through: named });
      expectReason(answer, "address-own");
    }
    const { answer } = await plain(hostname().toLowerCase(), { port: named.port, through: named });
    expect(answer).toMatch(/^HTTP\/1\.1 (403|502|504) /);
    expect([parent.connections, parent.received]).toEqual([0, ""]);
  });
});

describe("a parent that does not do its part is a fault of its own, and nobody is asked instead", () => {
  const slow = (octets: string): ParentBehaviour => {
    return ({ socket }) => {
      socket.resume();
      let at = 0;
      const timer = setInterval(() => socket.write(octets.charAt(at++ % octets.length)), 50);
      socket.on("close", () => clearInterval(timer));
    };
  };
  const endless: ParentBehaviour = ({ socket }) => {
    socket.resume();
    const more = (): void => {
      while (!socket.destroyed && socket.write("HTTP/1.1 100 Continue\r\n\r\n".repeat(100)));
      if (!socket.destroyed) socket.once("drain", more);
    };
    more();
  };
  test.each<[string, ParentBehaviour, Reason]>([
    [
      "407",
      parentSays("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"),
      "parent-auth-failed",
    ],
    ["403", parentSays("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), "parent-refused"],
    ["302", parentSays("HTTP/1.1 302 Log in\r\nLocation: http://portal.test/\r\n\r\n"), "parent-refused"],
    ["503", parentSays("HTTP/1.1 503 No\r\n\r\n"), "parent-refused"],
    ["101", parentSays("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "parent-malformed"],
    ["HTTP/2", parentSays("HTTP/2.0 200 OK\r\n\r\n"), "parent-malformed"],
    ["bare line feeds", parentSays("HTTP/1.1 200 OK\n\n"), "parent-malformed"],
    ["a folded field", parentSays("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"), "parent-malformed"],
    ["no HTTP", parentSays("SSH-2.0-OpenSSH_9.7\r\n\r\n"), "parent-malformed"],
    ["a huge head", parentSays(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(1 << 20)}\r\n\r\n`), "parent-malformed"],
    ["1xx without end", endless, "parent-malformed"],
    ["it closes", ({ socket }) => void socket.end(), "parent-unreachable"],
    ["it resets", ({ socket }) => void socket.resetAndDestroy(), "parent-unreachable"],
    ["half a head", parentSays("HTTP/1.1 200 OK\r\nX-", { end: true }), "parent-unreachable"],
  ])("%s", async (_name, behaviour, reason) => {
    parent.behave(behaviour);
    for (const ask of [plain, tunnelled]) {
      const { answer, records } = await ask("origin.test");
      expectReason(answer, reason);
      expect(records[1]).toMatchObject({ outcome: "fault", reason });
    }
    expect(parent.received).not.toMatch(/GET/);
    expect([plainOrigin.connections, secureOrigin.connections, other.connections]).toEqual([0, 0, 0]);
  });

  test.each<[string, ParentBehaviour, Reason]>([
    [
      "200 with a body, which is none",
      parentSays("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
      "upstream-tls-failed",
    ],
    ["200, then no TLS", parentSays("HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "upstream-tls-failed"],
    ["200, then it closes", parentSays("HTTP/1.1 200 OK\r\n\r\n", { end: true }), "upstream-reset"],
    [
      "200, then it closes in the handshake",
      ({ socket }) => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.once("data", () => socket.destroy());
        socket.resume();
      },
      "upstream-reset",
    ],
  ])("%s: as from an origin", async (_name, behaviour, reason) => {
    parent.behave(behaviour);
    const { answer } = await tunnelled("origin.test");
    expectReason(answer, reason);
    expect(parent.received).not.toContain("GET");
  });

  test.each<[string, ParentBehaviour]>([
    ["a head that trickles", slow("HTTP/1.1 200 OK\r\nX-Slow: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx")],
    ["silence", ({ socket }) => void socket.resume()],
  ])("%s", async (_name, behaviour) => {
    await using hasty = await runSallyport(usual().replace("limits: {", "limits: { connect: 400ms,"));
    parent.behave(behaviour);
    expectReason((await plain("origin.test", { through: hasty })).answer, "parent-timeout");
    expect([parent.connections, plainOrigin.connections]).toEqual([1, 0]);
  });

  test("a parent that ends the TLS itself is not the origin", async () => {
    const forged = await recordingOrigin(createSelfSigned({ names }));
    parent.behave(({ head: asking, ...rest }) =>
      openTunnels()({ head: asking.replace(/:\d+ /, `:${forged.port} `), ...rest }),
    );
    expectReason((await tunnelled("origin.test")).answer, "certificate-untrusted");
    expect(forged.received).toBe("");
    await forged[Symbol.asyncDispose]();
  });

  test("it is down: nothing goes straight", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    await using behind = await runSallyport(upstream(`  parent: "http://127.0.0.1:${port}"`));
    for (const ask of [plain, tunnelled])
      expectReason((await ask("origin.test", { through: behind })).answer, "parent-unreachable");
    expect([plainOrigin.connections, secureOrigin.connections]).toEqual([0, 0]);
  });

  test.each<[string, string, Reason]>([
    ["its name is not found", "http://missing.test:3128", "parent-unreachable"],
    ["a metadata address", "http://169.254.169.254:80", "parent-prohibited"],
    ["this proxy itself", "http://127.0.0.1:PORT", "parent-prohibited"],
  ])("%s", async (_name, url, reason) => {
    await using behind = await runSallyport(upstream(`  parent: "http://127.0.0.1:1"`));
    const text = upstream(`  parent: "${url.replace("PORT", String(behind.port))}"`);
    expect(await behind.reconfigure(text)).toBe(true);
    expectReason((await plain("origin.test", { through: behind })).answer, reason);
    expect(plainOrigin.connections).toBe(0);
  });
});

describe("an https:// parent", () => {
  const foreign = createCa({ commonName: "Foreign" });
  test.each<[string, () => Issued, Reason | undefined]>([
    ["verified by its own name", () => ca.issue({ names: ["proxy.test"] }), undefined],
    ["with another name", () => ca.issue({ names: ["other.test"] }), "parent-untrusted"],
    ["of another authority", () => foreign.issue({ names: ["proxy.test"] }), "parent-untrusted"],
    ["self-signed", () => createSelfSigned({ names: ["proxy.test"] }), "parent-untrusted"],
  ])("%s", async (_name, certificate, reason) => {
    await using secure = await recordingParent(certificate());
    const config = upstream(
      `  parent: "https://agent:\${PARENT_PASSWORD}@proxy.test:${secure.port}"`,
    ).replace("inside.test:", "proxy.test: [127.0.0.1], inside.test:");
    await using behind = await runSallyport(config);
    for (const ask of [plain, tunnelled]) {
      const { answer } = await ask("origin.test", { through: behind });
      if (reason === undefined) expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      else expectReason(answer, reason);
    }
    expect(secure.heads).toEqual(
      reason === undefined ? [head("127.0.0.1", plainOrigin.port), head("127.0.0.1", secureOrigin.port)] : [],
    );
    if (reason !== undefined) expect([secure.received, plainOrigin.connections]).toEqual(["", 0]);
  });

  test("TLS in TLS: when the inner connection goes, so does the outer", async () => {
    await using secure = await recordingParent(ca.issue({ names: ["proxy.test"] }));
    const config = upstream(`  pool: { idle: 100ms }\n  parent: "https://proxy.test:${secure.port}"`).replace(
      "inside.test:",
      "proxy.test: [127.0.0.1], inside.test:",
    );
    await using behind = await runSallyport(config);
    for (const ask of [plain, tunnelled])
      expect((await ask("origin.test", { through: behind })).answer).toMatch(/^HTTP\/1\.1 200 /);
    await expect.poll(() => [secure.connections, secure.open], { timeout: 10_000 }).toEqual([2, 0]);
    // What the origin cuts is cut through both.
    secureOrigin.behave((socket) => void socket.once("data", () => socket.destroy()));
    expectReason((await tunnelled("origin.test", { through: behind })).answer, "upstream-reset");
    await expect.poll(() => secure.open, { timeout: 10_000 }).toBe(0);
  });

  test("a tunnel is not used on where the anchors that it was verified by are others now", async () => {
    await using secure = await recordingParent(foreign.issue({ names: ["proxy.test"] }));
    const file = await trustFile(foreign);
    const url = `https://proxy.test:${secure.port}`;
    const config = upstream(`  parent: { url: "${url}", trust: [${file}] }`).replace(
      "inside.test:",
      "proxy.test: [127.0.0.1], inside.test:",
    );
    await using behind = await runSallyport(config);
    expect((await plain("origin.test", { through: behind })).answer).toMatch(/^HTTP\/1\.1 200 /);
    await writeFile(file, ca.cert);
    expect(await behind.reconfigure(config)).toBe(true);
    expectReason((await plain("origin.test", { through: behind })).answer, "parent-untrusted");
    expect(secure.heads).toHaveLength(1);
  });

  test("with trust anchors of its own, which hold for no origin", async () => {
    await using secure = await recordingParent(foreign.issue({ names: ["proxy.test"] }));
    await using wrong = await recordingOrigin(foreign.issue({ names }));
    const url = `https://proxy.test:${secure.port}`;
    const config = upstream(`  parent: { url: "${url}", trust: [${await trustFile(foreign)}] }`);
    await using behind = await runSallyport(
      config.replace("inside.test:", "proxy.test: [127.0.0.1], inside.test:"),
    );
    expect((await tunnelled("origin.test", { through: behind })).answer).toMatch(/^HTTP\/1\.1 200 /);
    expectReason(
      (await tunnelled("origin.test", { port: wrong.port, through: behind })).answer,
      "certificate-untrusted",
    );
    expect(wrong.received).toBe("");
  });
});

test("a parent that cannot reach one address is asked for the next", async () => {
  await using behind = await runSallyport(
    upstream(`  parent: "http://127.0.0.1:${parent.port}"`)
      .replace(
        "inside.test: [10.1.2.3]",
        'many.test: ["::1", 127.0.0.9, 127.0.0.1], all.test: [127.0.0.9, 127.0.0.1]',
      )
      .replace("127.0.0.0/8] }", '127.0.0.0/8, "::1"] }'),
  );
  const { answer, records } = await plain("many.test", { through: behind });
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  // IPv4 first, in the order given.
  expect(parent.heads).toEqual([
    head("127.0.0.9", plainOrigin.port, false),
    head("127.0.0.1", plainOrigin.port, false),
  ]);
  expect(records[1]).toMatchObject({ address: "127.0.0.1" });
  parent.reset();
  parent.behave(parentSays("HTTP/1.1 503 No\r\n\r\n"));
  expectReason((await plain("all.test", { through: behind })).answer, "parent-refused");
  expect(parent.connections).toBe(2);
});

describe("another Sallyport as the parent, which ends TLS itself", () => {
  const far = (): Promise<RunningSallyport> =>
    runSallyport(`
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1] } }
sandboxes: [{ id: near, secret: "a-secret-of-its-own", policy: default }]
policies: { default: { allow: [{ host: origin.test, networks: [127.0.0.0/8] }, 127.0.0.1] } }
`);
  const near = (port: number, { directory, address }: { directory: string; address: string }) =>
    runSallyport(
      upstream(`  parent: { url: "http://near:a-secret-of-its-own@127.0.0.1:${port}", address: ${address} }`)
        .replace(`trust: [${trust}]`, `trust: ["${directory}/certs/ca.pem"]`)
        .replace("origin.test: [127.0.0.1], ", ""),
    );

  test("by name, its CA among the trust anchors", async () => {
    await using beyond = await far();
    await using here = await near(beyond.port, { directory: beyond.directory, address: "name" });
    expect((await tunnelled("origin.test", { through: here })).answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(secureOrigin.received).toMatch(/^Via: 1\.1 sallyport-\w+, 1\.1 sallyport-\w+\r$/m);
    const records = await beyond.recorded((all) => all.some(({ kind }) => kind === "request"));
    expect(records.find(({ kind }) => kind === "request")).toMatchObject({
      sandbox: "near",
      host: "origin.test",
    });
  });

  test("by address it sees two names in one tunnel, and refuses", async () => {
    await using beyond = await far();
    await using here = await near(beyond.port, { directory: beyond.directory, address: "judged" });
    const { answer } = await tunnelled("far.test", { through: here });
    expectReason(answer, "upstream-tls-failed");
    expect(secureOrigin.connections).toBe(0);
  });

  test("a wrong password", async () => {
    await using beyond = await far();
    await using here = await near(beyond.port, { directory: beyond.directory, address: "name" });
    expect(
      await here.reconfigure(upstream(`  parent: "http://near:wrong-secret@127.0.0.1:${beyond.port}"`)),
    ).toBe(true);
    expectReason((await plain("origin.test", { through: here })).answer, "parent-auth-failed");
  });
});
