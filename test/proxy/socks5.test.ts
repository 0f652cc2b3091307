// SOCKS5 on the port of HTTP: judged, recorded and intercepted as a CONNECT is, over every split, against every half of a
// handshake, and with nothing inside that nobody would read.

import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { capture } from "../net/hellos.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import {
  NO_CREDENTIALS,
  octets,
  socks5,
  socks5Request,
  USER_PASSWORD,
  userPassword,
} from "../support/ways/socks5.ts";
import { dialPort, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";

let ca: Issued;
let secure: RecordingOrigin;
let plain: RecordingOrigin;
let proxy: RunningSallyport;
let locked: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  secure = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test"] }));
  plain = await recordingOrigin();
  const rules = `
upstream:
  trust: [${await trustFile(ca)}]
  hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1], read.test: [127.0.0.1], inner.test: [10.0.0.1] }
limits: { drain: 1s, handshake: 1s, head_time: 1s }
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, networks: [127.0.0.0/8] }
      - { host: read.test, methods: read-only, networks: [127.0.0.0/8] }
      - { host: 127.0.0.1 }
      - { host: "::1" }
      - { host: inner.test }
      - { host: gone.test }
`;
  proxy = await runSallyport(`${rules}anonymous: default\n`);
  locked = await runSallyport(`${rules}sandboxes: [{ id: ci, secret: "a:secret-of-ci", policy: default }]\n`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  secure.reset();
  plain.reset();
});

const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).length >= enough,
  );
  return exchanges(all.slice(recorded));
};

async function opened(host: string, port: number): Promise<Wire> {
  const wire = await dialPort(proxy.port);
  expect(await socks5(wire, { host, port })).toBe(0);
  return wire;
}

async function tls(wire: Wire, servername: string): Promise<Wire> {
  wire.socket.removeAllListeners("data");
  const secured = connectTls({ socket: wire.socket, servername, ca: [proxy.trustAnchor, ca.cert] });
  await once(secured, "secureConnect");
  return new Wire(secured);
}

describe("what is inside", () => {
  test("TLS is intercepted, and its requests judged", async () => {
    await using wire = await tls(await opened("origin.test", secure.port), "origin.test");
    wire.write(`GET /a HTTP/1.1\r\nHost: origin.test:${secure.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    wire.socket.destroy();
    const [connect, request] = await found(2);
    expect(connect?.decision).toMatchObject({
      kind: "connect",
      verdict: "allow",
      method: "CONNECT",
      host: "origin.test",
      handling: "intercept",
    });
    expect(connect?.completion).toMatchObject({ outcome: "completed", status: 200 });
    expect(request?.decision).toMatchObject({ scheme: "https", tunnel: connect?.decision["id"], path: "/a" });
  });

  test("TLS to a spliced host is passed unread", async () => {
    await using wire = await tls(await opened("spliced.test", secure.port), "spliced.test");
    wire.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await secure.arrived((text) => text.includes("Host: x"));
    wire.socket.destroy();
    const [connect] = await found(1);
    expect(connect?.decision).toMatchObject({ handling: "splice" });
  });

  test.each(["origin.test", "ORIGIN.test.", "127.0.0.1"])("HTTP to %s is judged", async (host) => {
    await using wire = await opened(host, plain.port);
    const name = host === "127.0.0.1" ? host : "origin.test";
    wire.write(`POST /b?c HTTP/1.1\r\nHost: ${name}:${plain.port}\r\nContent-Length: 1\r\n\r\nx`);
    expect((await wire.answer()).status).toBe(200);
    // Another on the same connection.
    wire.write(`GET /d HTTP/1.1\r\nHost: ${name}:${plain.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    expect(plain.received).toContain(`POST /b?c HTTP/1.1\r\nHost: ${name}:${plain.port}\r\n`);
    wire.socket.destroy();
    const [connect, first, second] = await found(3);
    expect(first?.decision).toMatchObject({ scheme: "http", tunnel: connect?.decision["id"], host: name });
    expect(second?.decision).toMatchObject({ method: "GET", path: "/d" });
  });

  test("HTTP to a host that is spliced is read", async () => {
    await using wire = await opened("spliced.test", plain.port);
    wire.write(`GET / HTTP/1.1\r\nHost: other.test\r\n\r\n`);
    expect((await wire.answer()).field("sallyport-reason")).toBe("host-mismatch");
    expect(plain.received).toBe("");
  });

  test.each([
    { head: "GET / HTTP/1.1\r\nHost: {other}\r\n\r\n", reason: "host-mismatch" },
    { head: "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", reason: "host-mismatch" },
    { head: "GET http://other.test/ HTTP/1.1\r\nHost: {here}\r\n\r\n", reason: "host-mismatch" },
    { head: "GET https://{here}/ HTTP/1.1\r\nHost: {here}\r\n\r\n", reason: "host-mismatch" },
    { head: "CONNECT {here} HTTP/1.1\r\nHost: {here}\r\n\r\n", reason: "tunnel-within-tunnel" },
    { head: "GET / HTTP/1.1\r\n\r\n", reason: "host-ambiguous" },
    { head: "SSH-2.0-OpenSSH_9.9\r\n\r\n", reason: "request-malformed" },
    { head: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", reason: undefined },
  ])("$head is refused", async ({ head, reason }) => {
    await using wire = await opened("origin.test", plain.port);
    const here = `origin.test:${plain.port}`;
    wire.write(head.replaceAll("{here}", here).replaceAll("{other}", `other.test:${plain.port}`));
    const answer = await wire.answer();
    expect(answer.status).toBeGreaterThanOrEqual(400);
    if (reason !== undefined) expect(answer.field("sallyport-reason")).toBe(reason);
    wire.socket.destroy();
    const [connect, inside] = await found(2);
    expect(inside?.decision).toMatchObject({ verdict: "deny", tunnel: connect?.decision["id"] });
    expect(plain.connections).toBe(0);
  });

  test("a method limit holds", async () => {
    await using wire = await opened("read.test", plain.port);
    wire.write(`DELETE / HTTP/1.1\r\nHost: read.test:${plain.port}\r\n\r\n`);
    expect((await wire.answer()).field("sallyport-reason")).toBe("method-not-allowed");
    expect(plain.connections).toBe(0);
  });

  test.each([
    "\x00\x01",
    "\x05\x01\x00",
    "\x15\x03\x01\x00\x02\x01\x00",
    "\x80\x2e\x01\x03\x01",
    "\r\n\r\n\0",
  ])("%j is not relayed", async (text) => {
    for (const host of ["origin.test", "spliced.test"]) {
      await using wire = await opened(host, plain.port);
      wire.write(text);
      await wire.until(() => false);
    }
    const reasons = (await found(4)).map(({ decision }) => decision["reason"]);
    expect(reasons.filter((reason) => reason === "protocol-not-allowed")).toHaveLength(2);
    expect(plain.connections).toBe(0);
  });

  test("another name in the ClientHello than in SOCKS", async () => {
    await using wire = await opened("origin.test", secure.port);
    wire.write(await capture({ servername: "evil.test" }));
    await wire.rest();
    expect(wire.all.slice(-7)).toBe("\x15\x03\x01\x00\x02\x02\x70");
    expect((await found(2))[1]?.decision).toMatchObject({ kind: "handshake", reason: "sni-mismatch" });
  });

  test("silence is ended, and recorded", async () => {
    await using wire = await opened("origin.test", secure.port);
    await wire.until(() => false);
    expect((await found(2))[1]?.decision).toMatchObject({ kind: "handshake", reason: "handshake-failed" });
  });
});

describe("replies", () => {
  test.each([
    ["other.test", 2, "host-not-allowed"],
    ["[2001:db8::1]", 2, "address-literal"],
    ["127.0.0.2", 2, "address-literal"],
    ["[::ffff:127.0.0.1]", 2, "address-literal"],
    ["127.1", 1, "authority-malformed"],
    ["0x7f.0.0.1", 1, "authority-malformed"],
    ["user@origin.test", 1, "authority-malformed"],
    ["origin.test:443", 1, "authority-malformed"],
    ["origin.test\0.evil.test", 1, "authority-malformed"],
    ["origin.test\r\nX: y", 1, "authority-malformed"],
  ])("%s is refused with %i", async (host, code, reason) => {
    await using wire = await dialPort(proxy.port);
    expect(await socks5(wire, { host, port: secure.port })).toBe(code);
    expect(await wire.rest()).toBe("");
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ kind: "connect", verdict: "deny", reason });
    expect(refused?.completion).toMatchObject({ outcome: "refused", bytesDown: 10 });
    expect(secure.connections).toBe(0);
  });

  test("port 0", async () => {
    await using wire = await dialPort(proxy.port);
    expect(await socks5(wire, { host: "origin.test", port: 0 })).toBe(1);
    await found(1);
  });

  test("the proxy's own port inside a tunnel", async () => {
    await using wire = await opened("127.0.0.1", proxy.adminPort);
    wire.write(`GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:${proxy.adminPort}\r\n\r\n`);
    expect((await wire.answer()).field("sallyport-reason")).toBe("address-own");
  });

  test.each([2, 3])("command %i is refused with 7", async (command) => {
    await using wire = await dialPort(proxy.port);
    wire.write(NO_CREDENTIALS);
    await octets(wire, 2);
    wire.write(socks5Request("origin.test", 53, command));
    expect([...(await octets(wire, 10))]).toEqual([5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({
      kind: "connect",
      reason: "command-not-allowed",
      host: "origin.test",
      port: 53,
    });
  });

  test("a name that cannot be resolved, for a splice", async () => {
    expect(
      await proxy.reconfigure(
        `anonymous: default\nlimits: { drain: 1s, handshake: 1s, head_time: 1s }
upstream: { hosts: {}, resolvers: [127.0.0.1:1] }
policies: { default: { methods: all, allow: [{ host: gone.test }], splice: [gone.test] } }`,
      ),
    ).toBe(true);
    await using wire = await dialPort(proxy.port);
    expect(await socks5(wire, { host: "gone.test", port: 443 })).toBe(4);
  });
});

describe("credentials", () => {
  const last = async (enough: (reason: unknown) => boolean) => {
    const all = await locked.recorded((records) =>
      exchanges(records).some(
        ({ decision, completion }) => completion !== undefined && enough(decision["reason"]),
      ),
    );
    return exchanges(all).findLast(({ decision }) => enough(decision["reason"]));
  };

  test("are the sandbox's, a colon in the password too", async () => {
    await using wire = await dialPort(locked.port);
    const code = await socks5(wire, {
      host: "origin.test",
      port: plain.port,
      credentials: "ci:a:secret-of-ci",
    });
    expect(code).toBe(0);
    wire.write(`GET / HTTP/1.1\r\nHost: origin.test:${plain.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    expect(plain.received.toLowerCase()).not.toContain("proxy-authorization");
    const all = await locked.recorded((records) => exchanges(records).length >= 2);
    expect(exchanges(all).map(({ decision }) => decision["sandbox"])).toEqual(["ci", "ci"]);
  });

  test("missing: no method is chosen", async () => {
    await using wire = await dialPort(locked.port);
    wire.write(Buffer.from([5, 2, 0, 1]));
    expect([...(await octets(wire, 2))]).toEqual([5, 0xff]);
    expect(await wire.rest()).toBe("");
    expect((await last((reason) => reason === "credentials-missing"))?.decision).toMatchObject({
      kind: "connect",
      verdict: "deny",
    });
  });

  test("where both are offered, they are asked for", async () => {
    for (const { port } of [proxy, locked]) {
      await using wire = await dialPort(port);
      wire.write(Buffer.from([5, 2, 0, 2]));
      expect([...(await octets(wire, 2))]).toEqual([5, 2]);
    }
  });

  test.each([
    ["ci", "wrong"],
    ["", ""],
    ["ci", ""],
    ["", "a:secret-of-ci"],
    ["ci:a", "secret-of-ci"],
    ["ci\0", "a:secret-of-ci"],
  ])("%j %j are wrong, and the tunnel is not even asked for", async (user, password) => {
    await using wire = await dialPort(locked.port);
    wire.write(USER_PASSWORD);
    await octets(wire, 2);
    wire.write(Buffer.concat([userPassword(user, password), socks5Request("origin.test", plain.port)]));
    expect([...(await octets(wire, 2))]).toEqual([1, 1]);
    expect(await wire.rest()).toBe("");
    expect((await last((reason) => reason === "credentials-wrong"))?.decision).toMatchObject({
      kind: "connect",
    });
    expect(plain.connections).toBe(0);
  });

  test("wrong ones where nobody needs any are refused all the same", async () => {
    await using wire = await dialPort(proxy.port);
    expect(await socks5(wire, { host: "origin.test", port: 1, credentials: "who:ever" })).toBe(undefined);
  });

  test("guessing is slowed: past some tries even the right ones are not looked at", async () => {
    for (let tries = 0; tries < 12; tries++) {
      await using wire = await dialPort(locked.port);
      await socks5(wire, { host: "origin.test", port: 1, credentials: "ci:guess-number" });
    }
    await using wire = await dialPort(locked.port);
    const credentials = "ci:a:secret-of-ci";
    expect(await socks5(wire, { host: "origin.test", port: plain.port, credentials })).toBe(undefined);
  });
});

describe("handshakes", () => {
  test("octet by octet, and all at once with what goes inside", async () => {
    await proxy.reconfigure(
      `anonymous: default\nlimits: { drain: 1s, handshake: 1s, head_time: 1s }
upstream: { hosts: { origin.test: [127.0.0.1] } }
policies: { default: { allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }`,
    );
    const whole = Buffer.concat([
      NO_CREDENTIALS,
      socks5Request("origin.test", plain.port),
      Buffer.from(`GET / HTTP/1.1\r\nHost: origin.test:${plain.port}\r\n\r\n`),
    ]);
    await using slow = await dialPort(proxy.port);
    for (const octet of whole) {
      slow.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    await octets(slow, 12);
    expect((await slow.answer()).status).toBe(200);
    await using quick = await dialPort(proxy.port);
    quick.write(whole);
    expect([...(await octets(quick, 12))].slice(0, 4)).toEqual([5, 0, 5, 0]);
    expect((await quick.answer()).status).toBe(200);
  });

  test.each([
    { name: "no methods", sent: [5, 0], answer: [5, 0xff], reason: "socks-malformed" },
    { name: "half a greeting", sent: [5, 2, 0], answer: [5, 0xff], reason: "request-timeout" },
    {
      name: "credentials of another version",
      sent: [5, 1, 2, 5, 1, 97],
      answer: [5, 2, 1, 1],
      reason: "socks-malformed",
    },
    {
      name: "half of the credentials",
      sent: [5, 1, 2, 1, 9],
      answer: [5, 2, 1, 1],
      reason: "request-timeout",
    },
    {
      name: "no such command",
      sent: [5, 1, 0, 5, 9],
      answer: [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0],
      reason: "socks-malformed",
    },
    {
      name: "half a request",
      sent: [5, 1, 0, 5, 1, 0, 3, 20],
      answer: [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0],
      reason: "request-timeout",
    },
  ])("$name is answered in time, recorded and closed", async ({ sent, answer, reason }) => {
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.from(sent));
    expect([...Buffer.from(await wire.rest(), "latin1")]).toEqual(answer);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ kind: "malformed", reason });
    expect(refused?.completions).toBe(1);
  });

  test("a sandbox that ends in the middle of it", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.from([5, 1]));
    wire.socket.end();
    await wire.until(() => false);
    expect((await found(1))[0]?.decision).toMatchObject({ reason: "socks-malformed" });
  });

  test("SOCKS4 is malformed, as anything else that is no protocol of ours", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0]));
    expect((await wire.answer()).field("sallyport-reason")).toBe("request-malformed");
  });

  test("silence is ended without a word", async () => {
    await using wire = await dialPort(proxy.port);
    expect(await wire.rest()).toBe("");
  });
});
