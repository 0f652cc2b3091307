// Connections that were led to the proxy past their sandbox's will: where they go, what is refused of them and how that is
// told, whose they are, and that they come round no circle.

import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { listen, Occupancy } from "../../src/proxy/listener.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import { createNameServer } from "../support/dns.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { capture, message, record, records, sni, versions } from "../net/hellos.ts";
import { faultBench } from "./bench-of-faults.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let ca: Issued;
let origin: RecordingOrigin;
let plain: RecordingOrigin;
let proxy: RunningSallyport;
let [overTls, overHttp, bound] = [0, 0, 0];
/** Records of earlier tests. */
let recorded: number;

beforeAll(async () => {
  ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test", "other.test"] }));
  plain = await recordingOrigin();
  proxy = await runSallyport(`
upstream:
  trust: [${await trustFile(ca)}]
  hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1], other.test: [127.0.0.1], own.test: [127.0.0.1] }
anonymous: default
sandboxes: [{ id: ci-runner, secret: a-secret-of-the-runner, policy: runner }]
limits: { drain: 1s, handshake: 3s, head_time: 3s }
transparent:
  - { listen: "127.0.0.1:0", port: ${origin.port} }
  - { listen: "127.0.0.1:0", port: ${plain.port} }
  - { listen: "127.0.0.1:0", port: ${plain.port}, sandbox: ci-runner }
policies:
  default:
    preset: none
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, methods: all, networks: [127.0.0.0/8] }
      - { host: own.test, networks: [127.0.0.0/8] }
    splice: [spliced.test]
  runner:
    preset: none
    allow: [{ host: other.test, networks: [127.0.0.0/8] }]
`);
  [overTls = 0, overHttp = 0, bound = 0] = proxy.sallyport.transparent.map(({ port }) => port);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.reset();
  plain.reset();
});

/** The exchanges of this test, once each has ended. */
async function found(count: number): Promise<readonly { decision: AuditRecord; completion: AuditRecord }[]> {
  const fresh = (all: readonly AuditRecord[]) =>
    all.slice(recorded).filter(({ type }) => type !== "checkpoint");
  const all = await proxy.recorded((now) => exchanges(fresh(now)).length >= count && settled(fresh(now)));
  return exchanges(fresh(all)) as { decision: AuditRecord; completion: AuditRecord }[];
}

/** TLS straight to the listener; the error where the handshake fails. */
async function secure(options: ConnectionOptions & { port?: number } = {}): Promise<Wire | Error> {
  const socket = connectTls({
    host: "127.0.0.1",
    port: overTls,
    servername: "origin.test",
    ca: [proxy.trustAnchor, ca.cert],
    ALPNProtocols: ["http/1.1"],
    ...options,
  });
  const failed = await new Promise<Error | undefined>((resolve) => {
    socket.once("secureConnect", () => resolve(undefined));
    socket.once("error", resolve);
    socket.once("close", () => resolve(new Error("closed")));
  });
  return failed ?? new Wire(socket);
}

async function open(options: ConnectionOptions & { port?: number } = {}): Promise<Wire> {
  const wire = await secure(options);
  if (wire instanceof Error) throw wire;
  return wire;
}

/** What is written to `port`, and all that it answers until it closes. */
async function told(port: number, octets: string | Uint8Array): Promise<Buffer> {
  await using wire = await dialPort(port);
  wire.write(typeof octets === "string" ? octets : Buffer.from(octets));
  await wire.rest();
  return Buffer.from(wire.all, "latin1");
}

const alert = (description: number): Buffer => Buffer.from([0x15, 3, 1, 0, 2, 2, description]);
const hello = (...extensions: Parameters<typeof sni>[0][][]): Uint8Array =>
  Uint8Array.from(
    record(message({ extensions: [versions(0x0304), ...extensions.map((names) => sni(...names))] })),
  );

describe("TLS", () => {
  test("goes where its server name says, on the port that it was meant for, and is judged request by request", async () => {
    await using wire = await open();
    const peer = (wire.socket as TLSSocket).getPeerX509Certificate();
    expect(peer?.subjectAltName).toBe("DNS:origin.test");
    wire.write(`GET /package HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    wire.write(
      `POST /upload HTTP/1.1\r\nHost: origin.test:${origin.port}\r\nContent-Length: 6\r\n\r\nsecret`,
    );
    const refused = await wire.answer();
    expect(refused.status).toBe(403);
    expect(refused.body).toContain("method-not-allowed");
    expect(origin.received).toMatch(/^GET \/package HTTP\/1\.1\r\n/);
    expect(origin.received).not.toContain("POST");
    wire.socket.destroy();
    const [connected, allowed, denied] = await found(3);
    expect(connected?.decision).toMatchObject({
      kind: "connect",
      way: "transparent",
      method: "CONNECT",
      host: "origin.test",
      port: origin.port,
      verdict: "allow",
      handling: "intercept",
    });
    expect(connected?.decision["sandbox"]).toBeUndefined();
    expect(allowed?.decision).toMatchObject({
      kind: "request",
      way: "transparent",
      scheme: "https",
      path: "/package",
    });
    expect(denied?.decision).toMatchObject({ verdict: "deny", reason: "method-not-allowed" });
    expect(allowed?.decision["tunnel"]).toBe(connected?.decision["id"]);
  });

  test("where a rule says so, it passes unread", async () => {
    await using wire = await open({ servername: "spliced.test", ca: ca.cert });
    wire.write("POST / HTTP/1.1\r\nHost: spliced.test\r\nContent-Length: 2\r\n\r\nhi");
    expect((await wire.answer()).status).toBe(200);
    expect(origin.received).toContain("hi");
    wire.socket.destroy();
    const [spliced] = await found(1);
    expect(spliced?.decision).toMatchObject({
      way: "transparent",
      handling: "splice",
      addresses: ["127.0.0.1"],
    });
  });

  test("a host that is not allowed gets an alert and a record, and nobody is asked", async () => {
    const failed = await secure({ servername: "attacker.example" });
    expect(failed).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED" });
    expect(origin.connections).toBe(0);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({
      kind: "connect",
      way: "transparent",
      verdict: "deny",
      reason: "host-not-allowed",
      host: "attacker.example",
    });
    expect(refused?.completion).toMatchObject({ outcome: "refused", bytesUp: 0, bytesDown: 7 });
  });

  test.each([
    ["no server name", hello(), "sni-missing", 109],
    ["an address as server name", hello(["127.0.0.1"]), "client-hello-malformed", 50],
    ["an IPv6 address as server name", hello(["[::1]"]), "client-hello-malformed", 50],
    ["two server names", hello(["origin.test", "attacker.example"]), "client-hello-malformed", 50],
    ["a server name with a NUL", hello(["origin.test\0.attacker.example"]), "client-hello-malformed", 50],
    ["an old record", Uint8Array.of(0x16, 0x02, 0x00, 0x00, 0x01, 0x01), "not-tls", undefined],
    [
      "records that hold no ClientHello",
      Uint8Array.of(0x16, 3, 1, 0, 4, 2, 0, 0, 0),
      "client-hello-malformed",
      50,
    ],
  ] as const)("%s", async (_, octets, reason, description) => {
    const answer = await told(overTls, octets);
    if (description === undefined) expect(answer.toString("latin1")).toMatch(/^HTTP\/1\.1 403 .*not-tls/);
    else expect(answer).toEqual(alert(description));
    expect(origin.connections).toBe(0);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({
      kind: "handshake",
      way: "transparent",
      verdict: "deny",
      reason,
    });
    expect(refused?.completion).toMatchObject({ outcome: "refused", reason });
  });

  test.each(["sallyport.internal", "localhost", "own.test"])(
    "%s leads nowhere inside",
    async (servername) => {
      const wire = await secure({ servername });
      if (wire instanceof Wire) {
        wire.write(`GET / HTTP/1.1\r\nHost: ${servername}:${origin.port}\r\n\r\n`);
        // It is an origin of the test's own, whose certificate does not name it.
        expect((await wire.answer()).status).toBe(502);
        wire.socket.destroy();
      }
      expect(origin.received).toBe("");
      await found(1);
    },
  );

  test("the request inside must be for the server name's host, and its port", async () => {
    for (const host of ["other.test", `other.test:${origin.port}`, "origin.test", "attacker.example"]) {
      await using wire = await open();
      wire.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const answer = await wire.answer();
      expect(answer.status).toBe(403);
      expect(answer.body).toContain("host-mismatch");
    }
    expect(origin.received).toBe("");
  });

  test("GREASE and an outer name for ECH: the name that can be read is judged", async () => {
    const grease: [number, number[]] = [0x0a0a, []];
    const ech: [number, number[]] = [0xfe0d, Array.from({ length: 200 }, (_, at) => at)];
    const octets = record(
      message({ extensions: [grease, versions(0x0a0a, 0x0304), sni("public-name.example"), ech] }),
    );
    expect(await told(overTls, Uint8Array.from(octets))).toEqual(alert(49));
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ host: "public-name.example", reason: "host-not-allowed" });
  });

  test("a ClientHello in every split is the same ClientHello", async () => {
    const octets = await capture({ servername: "attacker.example" });
    for (const at of [1, 2, 4, 5, 6, 9, 10, 11, 43, 44, octets.length - 1]) {
      await using wire = await dialPort(overTls);
      wire.write(octets.subarray(0, at));
      await new Promise((resolve) => setTimeout(resolve, 5));
      wire.write(octets.subarray(at));
      await wire.rest();
      expect(Buffer.from(wire.all, "latin1"), `cut at ${at}`).toEqual(alert(49));
    }
    const whole = message({ extensions: [sni("attacker.example")] });
    const one = whole.map(() => 1);
    expect(await told(overTls, records(whole, ...one))).toEqual(alert(49));
  });

  test("one that was here before, on a connection that is closed, is no loop", async () => {
    const octets = await capture({ servername: "origin.test" });
    for (const _ of [1, 2]) {
      await using wire = await dialPort(overTls);
      wire.write(octets);
      await wire.until(() => wire.all !== "");
      expect(wire.all.charCodeAt(0)).toBe(0x16);
      wire.socket.end();
      await wire.rest();
      await expect.poll(() => proxy.metrics()).toContain("\nsallyport_connections_open 0\n");
    }
  });

  test("half a ClientHello is waited for within bounds, and none too", async () => {
    const octets = await capture({ servername: "origin.test" });
    expect(await told(overTls, octets.subarray(0, 60))).toEqual(alert(40));
    expect(await told(overTls, "")).toEqual(Buffer.alloc(0));
    const [late] = await found(1);
    expect(late?.decision).toMatchObject({ kind: "handshake", reason: "handshake-failed" });
  });

  test("it may leave at any moment", async () => {
    const octets = await capture({ servername: "origin.test" });
    for (const at of [0, 1, 60, octets.length]) {
      const wire = await dialPort(overTls);
      wire.write(octets.subarray(0, at));
      wire.socket.end();
      await wire.rest();
      const reset = await dialPort(overTls);
      reset.write(octets.subarray(0, at));
      await new Promise(setImmediate);
      reset.socket.resetAndDestroy();
    }
    await expect.poll(() => proxy.metrics()).toContain("sallyport_connections_open 0");
    await expect.poll(() => proxy.metrics()).toContain('sallyport_exchanges_in_flight{kind="tunnel"} 0');
    await proxy.recorded(settled);
  });
});

describe("HTTP", () => {
  const ask = async (head: string, port = overHttp) => {
    await using wire = await dialPort(port);
    wire.write(head);
    return await wire.answer();
  };

  test("goes where its Host says, on the port that it was meant for", async () => {
    for (const host of [`origin.test:${plain.port}`, "origin.test", "ORIGIN.test"]) {
      plain.reset();
      expect((await ask(`GET /x?y=z HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status).toBe(200);
      expect(plain.received).toMatch(
        new RegExp(`^GET /x\\?y=z HTTP/1\\.1\\r\\nHost: origin\\.test:${plain.port}\\r\\n`),
      );
    }
    const [asked] = await found(3);
    expect(asked?.decision).toMatchObject({
      kind: "request",
      way: "transparent",
      scheme: "http",
      host: "origin.test",
      port: plain.port,
      path: "/x",
    });
  });

  test.each([
    ["GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 403, "host-not-allowed"],
    ["GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403, "address-literal"],
    ["GET / HTTP/1.1\r\nHost: origin.test:1\r\n\r\n", 403, "host-mismatch"],
    ["POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 6\r\n\r\nsecret", 403, "method-not-allowed"],
    ["GET / HTTP/1.0\r\n\r\n", 400, "host-ambiguous"],
    ["GET / HTTP/1.1\r\n\r\n", 400, "host-ambiguous"],
    ["GET / HTTP/1.1\r\nHost: origin.test\r\nHost: attacker.example\r\n\r\n", 400, "host-ambiguous"],
    ["GET / HTTP/1.1\r\nHost: \r\n\r\n", 400, "authority-malformed"],
    ["GET / HTTP/1.1\r\nHost: user@origin.test\r\n\r\n", 400, "authority-malformed"],
    ["GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n", 400, "not-a-proxy"],
    ["CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n", 400, "not-a-proxy"],
    ["CONNECT / HTTP/1.1\r\nHost: origin.test\r\n\r\n", 400, "not-a-proxy"],
    ["GET /\\x HTTP/1.1\r\nHost: origin.test\r\n\r\n", 400, "target-malformed"],
    ["GET origin.test:80 HTTP/1.1\r\nHost: origin.test\r\n\r\n", 400, "target-malformed"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-unsupported"],
    ["\x05\x01\x00", 400, "request-malformed"],
    ["\x00\x00\x00\x00", 400, "request-malformed"],
    ["SSH-2.0-OpenSSH_9.9\r\n\r\n", 400, "request-malformed"],
  ] as const)("%j", async (octets, status, reason) => {
    const answer = await ask(octets);
    expect(answer.status).toBe(status);
    expect(answer.field("Sallyport-Reason")).toBe(reason);
    expect(plain.connections).toBe(0);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ way: "transparent", verdict: "deny", reason });
  });

  test("an OPTIONS for the whole server", async () => {
    expect((await ask("OPTIONS * HTTP/1.1\r\nHost: origin.test\r\n\r\n")).status).toBe(200);
    expect(plain.received).toMatch(/^OPTIONS \* HTTP/);
  });

  test("credentials said here make it nobody else, and go nowhere", async () => {
    const credentials = Buffer.from("ci-runner:a-secret-of-the-runner").toString("base64");
    const head = (host: string): string =>
      `GET / HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`;
    expect((await ask(head("other.test"))).status).toBe(403);
    expect((await ask(head("origin.test"))).status).toBe(200);
    expect(plain.received).not.toMatch(/authorization/i);
  });

  test("a listener may be one sandbox's: its connections are that sandbox's", async () => {
    expect((await ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", bound)).status).toBe(200);
    expect((await ask("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", bound)).status).toBe(403);
    const [allowed, denied] = await found(2);
    expect(allowed?.decision).toMatchObject({ sandbox: "ci-runner", policy: "runner", verdict: "allow" });
    expect(denied?.decision).toMatchObject({ sandbox: "ci-runner", reason: "host-not-allowed" });
  });

  test("one request after another, judged each", async () => {
    await using wire = await dialPort(overHttp);
    wire.write(
      "GET /1 HTTP/1.1\r\nHost: origin.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: attacker.example\r\n\r\n",
    );
    wire.write("GET /3 HTTP/1.1\r\nHost: origin.test\r\n\r\n");
    expect(
      [await wire.answer(), await wire.answer(), await wire.answer()].map(({ status }) => status),
    ).toEqual([200, 403, 200]);
  });
});

test("octets of any kind bring nothing down, and reach nobody", async () => {
  const SEED = 20_261_125;
  const first = fc.constantFrom([0x16, 3, 1], [0x16, 3, 3, 0, 40, 1, 0, 0], [0x47], [0x0d, 0x0a], []);
  await fc.assert(
    fc.asyncProperty(first, fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (begin, octets, tls) => {
      await using wire = await dialPort(tls ? overTls : overHttp);
      wire.write(Buffer.from([...begin, ...octets]));
      wire.socket.end();
      await wire.rest();
    }),
    { seed: SEED, numRuns: 200 },
  );
  await expect.poll(() => proxy.metrics()).toContain("sallyport_connections_open 0");
  expect(origin.connections + plain.connections).toBe(0);
  await proxy.recorded(settled);
});

test("where no record can be written, nothing is told but that, and nobody is reached (invariant 2)", async () => {
  await using bench = await faultBench(ca);
  const listener = await listen(bench.parts, {
    at: { host: "127.0.0.1", port: 0 },
    occupancy: new Occupancy(),
    redirect: { port: origin.port, sandbox: undefined },
  });
  try {
    bench.hook = (operation) => {
      if (operation === "audit") throw new Error("no space");
    };
    for (const name of ["origin.test", "spliced.test", "attacker.example"])
      expect(await told(listener.port, await capture({ servername: name }))).toEqual(alert(80));
    expect(await told(listener.port, hello())).toEqual(alert(80));
    await using wire = await dialPort(listener.port);
    wire.write("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n");
    expect((await wire.answer()).field("Sallyport-Reason")).toBe("audit-unavailable");
    expect(origin.connections).toBe(0);
    bench.hook = (operation) => {
      if (operation === "dial") throw new ProxyFault("upstream-refused");
    };
    // It was allowed, so its record says how it ended.
    expect(await told(listener.port, await capture({ servername: "spliced.test" }))).toEqual(alert(80));
    expect(bench.entries.at(-1)?.completions).toMatchObject([
      { outcome: "fault", reason: "upstream-refused" },
    ]);
  } finally {
    await listener.close();
  }
});

test("who leaves while its host is asked for has left: the record says so, and nobody is dialed", async () => {
  await using names = await createNameServer({ "slow.test": "silent" });
  await using one = await runSallyport(`
anonymous: default
limits: { dns: 500ms }
upstream: { resolvers: ["${names.address}"] }
transparent: [{ listen: "127.0.0.1:0", port: ${origin.port} }]
policies: { default: { preset: none, methods: all, allow: [slow.test], splice: [slow.test] } }
`);
  const wire = await dialPort(one.sallyport.transparent[0]?.port ?? 0);
  wire.write(await capture({ servername: "slow.test" }));
  await names.arrival("A slow.test");
  wire.socket.resetAndDestroy();
  const [left] = exchanges(await one.recorded((all) => exchanges(all).length === 1 && settled(all)));
  expect(left?.completion).toMatchObject({ outcome: "aborted", bytesUp: 0 });
  expect(origin.connections).toBe(0);
});

test("the welcome page, on port 80", async () => {
  await using one = await runSallyport(
    'transparent: [{ listen: "127.0.0.1:0", port: 80 }]\nanonymous: default\n',
  );
  await using wire = await dialPort(one.sallyport.transparent[0]?.port ?? 0);
  wire.write("GET /ca.pem HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
  const answer = await wire.answer();
  expect(answer.body).toBe(one.trustAnchor);
});

test("without a policy for who says no name, everything is refused", async () => {
  await using one = await runSallyport(
    'transparent: [{ listen: "127.0.0.1:0", port: 443 }]\nsandboxes: [{ id: a, secret: a-secret-of-a-kind, policy: default }]\n',
  );
  const port = one.sallyport.transparent[0]?.port ?? 0;
  expect(await told(port, hello(["packages.npmjs.org"]))).toEqual(alert(49));
  const records = await one.recorded((all) => all.some(({ type }) => type === "completion"));
  expect(records).toContainEqual(expect.objectContaining({ kind: "connect", reason: "credentials-missing" }));
});

test("a new generation cuts what it no longer allows; so does a stop", async () => {
  const yaml = (host: string): string => `
transparent: [{ listen: "127.0.0.1:0", port: ${origin.port} }]
upstream: { hosts: { spliced.test: [127.0.0.1] } }
anonymous: default
limits: { drain: 100ms }
policies: { default: { preset: none, methods: all, splice: [spliced.test], allow: [{ host: ${host}, networks: [127.0.0.0/8] }] } }
`;
  await using one = await runSallyport(yaml("spliced.test"));
  const port = one.sallyport.transparent[0]?.port ?? 0;
  const first = await open({ port, servername: "spliced.test", ca: ca.cert });
  expect(await one.reconfigure(yaml("elsewhere.test"))).toBe(true);
  await first.close();
  expect(await secure({ port, servername: "spliced.test", ca: ca.cert })).toBeInstanceOf(Error);
  expect(await one.reconfigure(yaml("spliced.test"))).toBe(true);
  const second = await open({ port, servername: "spliced.test", ca: ca.cert });
  const idle = connect(port, "127.0.0.1").resume();
  await once(idle, "connect");
  await Promise.all([once(idle, "close"), second.close(), one.sallyport.stop()]);
});

describe("what is led back to the proxy itself", () => {
  /** As a packet filter would that redirects the proxy's own connections too. */
  async function circle(): Promise<AsyncDisposable & { port: number; into: number; connections: number }> {
    const state = { into: 0, connections: 0 };
    const server = createServer((socket) => {
      state.connections++;
      const on = connect(state.into, "127.0.0.1");
      for (const one of [socket, on]) one.on("error", () => {});
      socket.pipe(on).pipe(socket);
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    return Object.assign(state, {
      port: (server.address() as AddressInfo).port,
      [Symbol.asyncDispose]: async () => void server.close(),
    });
  }

  const yaml = (port: number, trust: string): string => `
transparent: [{ listen: "127.0.0.1:0", port: ${port} }]
upstream: { trust: [${trust}], hosts: { spliced.test: [127.0.0.1], origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow: [{ host: spliced.test, networks: [127.0.0.0/8] }, { host: origin.test, networks: [127.0.0.0/8] }]
`;

  test.each(["plain", "intercepted", "spliced"] as const)("%s: once round, and no further", async (kind) => {
    await using back = await circle();
    await using one = await runSallyport(yaml(back.port, await trustFile(ca)));
    const port = one.sallyport.transparent[0]?.port ?? 0;
    back.into = port;
    if (kind === "spliced") {
      expect(await secure({ port, servername: "spliced.test" })).toBeInstanceOf(Error);
    } else {
      await using wire = kind === "plain" ? await dialPort(port) : await open({ port, ca: one.trustAnchor });
      wire.write(`GET / HTTP/1.1\r\nHost: origin.test:${back.port}\r\n\r\n`);
      const answer = await wire.answer();
      expect(answer.field("Sallyport-Reason")).toBe(kind === "plain" ? undefined : "certificate-untrusted");
      if (kind === "plain") expect(answer.body).toContain("loop-detected");
    }
    expect(back.connections).toBe(1);
    if (kind === "intercepted") return;
    const records = await one.recorded((all) => all.some(({ reason }) => reason === "loop-detected"));
    expect(
      records.filter(({ reason, type }) => reason === "loop-detected" && type === "decision"),
    ).toHaveLength(1);
  });

  test("the listener's own address is never dialed, by a rule that names its network either (invariant 8)", async () => {
    await using first = await runSallyport("anonymous: default\n");
    const closed = first.port;
    await first[Symbol.asyncDispose]();
    await using _ = await runSallyport(`
transparent: [{ listen: "127.0.0.1:${closed}", port: ${closed} }]
upstream: { hosts: { own.test: [127.0.0.1] } }
anonymous: default
policies: { default: { preset: none, allow: [{ host: own.test, networks: [127.0.0.0/8] }] } }
`);
    await using wire = await dialPort(closed);
    wire.write("GET / HTTP/1.1\r\nHost: own.test\r\n\r\n");
    expect((await wire.answer()).field("Sallyport-Reason")).toBe("address-own");
  });
});
