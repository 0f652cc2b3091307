// CONNECT and what follows it: over every split of the octets, every version of TLS, and every way to fail after the 200.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AddressInfo, createServer } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { capture } from "../net/hellos.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";

let ca: Issued;
let origin: RecordingOrigin;
let proxy: RunningSallyport;
let authority: string;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test"] }));
  origin.behave(answerRequests(() => OK));
  authority = `origin.test:${origin.port}`;
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] } }
anonymous: default
limits: { drain: 1s, handshake: 1500ms }
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, networks: [127.0.0.0/8] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.reset();
});

const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).length >= enough,
  );
  return exchanges(all.slice(recorded));
};

const connectHead = (target: string): string => `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;

// Node's agent and grpc-js leave a refused tunnel open, and their process lives until the other side closes it.
test("a refused CONNECT ends its connection", async () => {
  await using wire = await dialPort(proxy.port);
  wire.write(connectHead("attacker.example:443"));
  const rest = await wire.rest();
  expect(rest).toMatch(/^HTTP\/1\.1 403 [^]*\r\nConnection: close\r\n/);
  expect(await found(1)).toMatchObject([{ decision: { reason: "host-not-allowed" } }]);
});

describe("splits", () => {
  test("the CONNECT head, cut at every octet", async () => {
    const head = connectHead(authority);
    for (let at = 1; at < head.length; at++) {
      await using wire = await dialPort(proxy.port);
      wire.write(head.slice(0, at));
      await new Promise(setImmediate);
      expect((await wire.write(head.slice(at)).answer("CONNECT")).status).toBe(200);
    }
  });

  test.each(["origin.test", "spliced.test"])("the ClientHello for %s, cut in two", async (name) => {
    const hello = await capture({ servername: name });
    const cuts = [...Array(60).keys(), ...Array.from({ length: 12 }, (_, i) => 60 + i * 30)].filter(
      (at) => at > 0 && at < hello.length,
    );
    for (const at of cuts) {
      await using wire = await dialPort(proxy.port);
      wire.write(connectHead(`${name}:${origin.port}`));
      expect((await wire.answer("CONNECT")).status).toBe(200);
      wire.write(hello.subarray(0, at));
      await new Promise(setImmediate);
      wire.write(hello.subarray(at));
      await wire.until(() => wire.held.length > 5);
      // A ServerHello.
      expect(wire.held.slice(0, 2)).toBe("\x16\x03");
    }
  });

  test("octet by octet, with the CONNECT", async () => {
    const hello = await capture({ servername: "origin.test" });
    await using wire = await dialPort(proxy.port);
    for (const octet of Buffer.concat([Buffer.from(connectHead(authority)), hello])) {
      wire.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    await wire.answer("CONNECT");
    await wire.until(() => wire.held.length > 5);
    expect(wire.held.slice(0, 2)).toBe("\x16\x03");
  });

  test("CONNECT and ClientHello in one packet", async () => {
    const hello = await capture({ servername: "origin.test" });
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.concat([Buffer.from(connectHead(authority)), hello]));
    expect((await wire.answer("CONNECT")).status).toBe(200);
    await wire.until(() => wire.held.length > 5);
    expect(wire.held.slice(0, 2)).toBe("\x16\x03");
  });
});

const open = (tls: Parameters<typeof openTunnel>[0]["tls"], target = authority) =>
  openTunnel({ port: proxy.port, target, tls: { ca: [proxy.trustAnchor, ca.cert], ...tls } });

async function works(wire: Wire | unknown): Promise<Wire> {
  if (!(wire instanceof Wire)) throw new Error(`no tunnel: ${String(wire)}`);
  const answer = await wire.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`).answer();
  expect(answer.status).toBe(200);
  return wire;
}

describe("TLS", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("%s", async (version) => {
    const wire = await works(
      await open({ servername: "origin.test", minVersion: version, maxVersion: version }),
    );
    expect((wire.socket as TLSSocket).getProtocol()).toBe(version);
    await wire[Symbol.asyncDispose]();
    expect((await found(2)).map(({ decision }) => decision["kind"])).toEqual(["connect", "request"]);
  });

  test("1.1 is refused and recorded", async () => {
    expect(
      await open({
        servername: "origin.test",
        minVersion: "TLSv1.1",
        maxVersion: "TLSv1.1",
        ciphers: "DEFAULT@SECLEVEL=0",
      }),
    ).toBeInstanceOf(Error);
    const [connect, handshake] = await found(2);
    expect(connect?.decision).toMatchObject({ kind: "connect", verdict: "allow" });
    expect(handshake?.decision).toMatchObject({
      kind: "handshake",
      verdict: "deny",
      reason: "handshake-failed",
      tunnel: connect?.decision["id"],
    });
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)("a session is resumed over %s", async (version) => {
    const tls = { servername: "origin.test", minVersion: version, maxVersion: version };
    const first = await open(tls);
    if (!(first instanceof Wire)) throw new Error("no tunnel");
    let ticket: Buffer | undefined = (first.socket as TLSSocket).getSession();
    (first.socket as TLSSocket).on("session", (newer: Buffer) => (ticket = newer));
    await works(first);
    await first[Symbol.asyncDispose]();
    const second = await works(await open({ ...tls, session: ticket }));
    expect((second.socket as TLSSocket).isSessionReused()).toBe(true);
    await second[Symbol.asyncDispose]();
  });

  test("a session of one host is not another's", async () => {
    const first = await open({ servername: "origin.test", maxVersion: "TLSv1.2" });
    if (!(first instanceof Wire)) throw new Error("no tunnel");
    const session = (first.socket as TLSSocket).getSession();
    await first[Symbol.asyncDispose]();
    const other = await open(
      { servername: "spliced.test", session, maxVersion: "TLSv1.2" },
      `spliced.test:${origin.port}`,
    );
    if (other instanceof Wire) {
      expect((other.socket as TLSSocket).isSessionReused()).toBe(false);
      await other[Symbol.asyncDispose]();
    }
  });

  test("without SNI the host is the CONNECT's", async () => {
    const wire = await works(
      await open({
        checkServerIdentity: (_name, { subjectaltname }) => {
          return subjectaltname === "DNS:origin.test" ? undefined : new Error(String(subjectaltname));
        },
        servername: "",
      }),
    );
    await wire[Symbol.asyncDispose]();
  });

  test("ALPN: http/1.1 is chosen, what is not spoken is refused by name", async () => {
    const wire = await works(await open({ servername: "origin.test", ALPNProtocols: ["h2", "http/1.1"] }));
    expect((wire.socket as TLSSocket).alpnProtocol).toBe("http/1.1");
    await wire[Symbol.asyncDispose]();
    const failed = await open({ servername: "origin.test", ALPNProtocols: ["h3"] });
    expect(failed).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" });
    const last = (await found(4)).at(-1);
    expect(last?.decision).toMatchObject({ kind: "handshake", reason: "handshake-failed" });
  });

  test("a sandbox that does not trust the CA", async () => {
    const failed = await openTunnel({
      port: proxy.port,
      target: authority,
      tls: { servername: "origin.test", ca: ca.cert },
    });
    expect(failed).toBeInstanceOf(Error);
    expect(origin.connections).toBe(0);
    await found(1);
  });

  test("openssl resumes sessions", async () => {
    const file = join(proxy.directory, "anchor.pem");
    await writeFile(file, proxy.trustAnchor);
    const output = await new Promise<string>((resolve) => {
      const child = execFile(
        "openssl",
        `s_client -proxy 127.0.0.1:${proxy.port} -connect ${authority} -servername origin.test -CAfile ${file} -verify_return_error -tls1_2 -reconnect`.split(
          " ",
        ),
        { timeout: 8000 },
        (_error, stdout, stderr) => resolve(stdout + stderr),
      );
      child.stdin?.end();
    });
    expect(output).toMatch(/Verify return code: 0/);
    expect(output).toMatch(/Reused, TLSv1.2/);
  });
});

describe("after the 200", () => {
  async function inside(octets: string | Buffer, name = "origin.test"): Promise<Wire> {
    const wire = await dialPort(proxy.port);
    wire.write(connectHead(`${name}:${origin.port}`));
    expect((await wire.answer("CONNECT")).status).toBe(200);
    wire.write(octets);
    return wire;
  }

  test("plain HTTP is answered so that it can be read", async () => {
    await using wire = await inside(`POST / HTTP/1.1\r\nHost: ${authority}\r\n\r\n${"x".repeat(200_000)}`);
    const answer = await wire.answer();
    expect(answer.status).toBe(403);
    expect(answer.field("sallyport-reason")).toBe("not-tls");
    expect(await wire.rest()).toBe("");
    wire.socket.destroy();
    const [connect, handshake] = await found(2);
    expect(connect?.completion).toMatchObject({ reason: "not-tls", outcome: "refused" });
    expect(handshake?.decision).toMatchObject({ kind: "handshake", reason: "not-tls" });
    expect(origin.connections).toBe(0);
  });

  test.each(["SSH-2.0-OpenSSH_9.9\r\n", "\x00", "\x15\x03\x01\x00\x02\x01\x00", "\x80\x2e\x01\x03\x01"])(
    "%j is not relayed",
    async (octets) => {
      for (const name of ["origin.test", "spliced.test"]) {
        await using wire = await inside(Buffer.from(octets, "latin1"), name);
        await wire.until(() => false);
      }
      expect(origin.connections).toBe(0);
      await found(4);
    },
  );

  test("another name in the ClientHello is refused with an alert, and never dialed", async () => {
    for (const name of ["origin.test", "spliced.test"]) {
      await using wire = await inside(await capture({ servername: "evil.test" }), name);
      await wire.rest();
      // Fatal, unrecognized_name.
      expect(wire.all.slice(-7)).toBe("\x15\x03\x01\x00\x02\x02\x70");
    }
    expect(origin.connections).toBe(0);
    const kinds = (await found(4)).map(({ decision }) => decision["reason"]);
    expect(kinds.filter((reason) => reason === "sni-mismatch")).toHaveLength(2);
  });

  test("silence is ended, and recorded", async () => {
    await using wire = await inside("");
    await wire.until(() => false);
    const [connect, handshake] = await found(2);
    expect(connect?.completion).toMatchObject({ reason: "handshake-failed" });
    expect(handshake?.decision).toMatchObject({ kind: "handshake", reason: "handshake-failed" });
  });

  test("half a ClientHello is ended in time", async () => {
    await using wire = await inside((await capture({ servername: "origin.test" })).subarray(0, 100));
    await wire.until(() => false);
    await found(2);
  });

  test("a sandbox that leaves instead of speaking", async () => {
    const wire = await inside("");
    wire.socket.end();
    await wire.until(() => false);
    await wire[Symbol.asyncDispose]();
    const [connect] = await found(1);
    expect(connect?.completions).toBe(1);
  });

  test("a spliced tunnel is half-closed as its ends are", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let octets = 0;
      socket.on("data", (chunk: Buffer) => (octets += chunk.length));
      socket.on("end", () => socket.end(`got ${octets}${"x".repeat(1_000_000)}`));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const hello = await capture({ servername: "spliced.test" });
    await using wire = await dialPort(proxy.port);
    wire.write(connectHead(`spliced.test:${port}`));
    await wire.answer("CONNECT");
    wire.write(hello);
    wire.socket.end();
    const rest = await wire.rest();
    expect(rest.slice(0, 12)).toBe(`got ${hello.length}xxxxxxxxxxxx`.slice(0, 12));
    expect(rest.length).toBeGreaterThan(1_000_000);
    const [connect] = await found(1);
    expect(connect?.completion).toMatchObject({ outcome: "completed", bytesUp: hello.length });
    server.close();
  });

  test("an origin that cannot be dialed for a splice: the tunnel is closed without HTTP in it", async () => {
    const closed = await recordingOrigin();
    const { port } = closed;
    await closed[Symbol.asyncDispose]();
    await using wire = await dialPort(proxy.port);
    wire.write(connectHead(`spliced.test:${port}`));
    expect((await wire.answer("CONNECT")).status).toBe(200);
    wire.write(await capture({ servername: "spliced.test" }));
    expect(await wire.rest()).not.toContain("HTTP");
    wire.socket.destroy();
    const [connect] = await found(1);
    expect(connect?.completion).toMatchObject({ outcome: "fault", reason: "upstream-refused" });
  });

  test("an origin that cannot be dialed for a request: it is answered inside the tunnel", async () => {
    const closed = await recordingOrigin();
    const { port } = closed;
    await closed[Symbol.asyncDispose]();
    const wire = await open({ servername: "origin.test" }, `origin.test:${port}`);
    if (!(wire instanceof Wire)) throw new Error("no tunnel");
    const answer = await wire.write(`GET / HTTP/1.1\r\nHost: origin.test:${port}\r\n\r\n`).answer();
    expect(answer.field("sallyport-reason")).toBe("upstream-refused");
    await wire[Symbol.asyncDispose]();
  });

  test.each([
    { target: "https://origin.test:{p}/", status: 200 },
    { target: "http://origin.test:{p}/", status: 403, reason: "host-mismatch" },
    { target: "https://other.test:{p}/", status: 403, reason: "host-mismatch" },
    { target: "https://origin.test/", status: 403, reason: "host-mismatch" },
  ])("an absolute target inside: $target", async ({ target, status, reason }) => {
    await using wire = await works(await open({ servername: "origin.test" }));
    const text = target.replace("{p}", String(origin.port));
    const answer = await wire.write(`GET ${text} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`).answer();
    expect([answer.status, answer.field("sallyport-reason")]).toEqual([status, reason]);
  });

  test("no CONNECT within", async () => {
    await using wire = await works(await open({ servername: "origin.test" }));
    const answer = await wire.write(connectHead(authority)).answer();
    expect(answer.field("sallyport-reason")).toBe("tunnel-within-tunnel");
  });

  test("requests behind a CONNECT in one packet are not requests", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(`${connectHead(authority)}GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect((await wire.answer("CONNECT")).status).toBe(200);
    expect((await wire.answer()).field("sallyport-reason")).toBe("not-tls");
    expect(origin.connections).toBe(0);
  });
});
