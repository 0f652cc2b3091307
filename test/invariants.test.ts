// The ten invariants of docs/security.md, each seen from outside on a whole proxy: by what the origin received, then by the
// record, then by what the sandbox was told. Each test fails where the line that its invariant rests on is taken away.

import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createNameServer } from "./support/dns.ts";
import { createCa } from "./support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "./support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "./support/sallyport.ts";

const ca = createCa();
const CLOSING = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const LOOPBACK = "networks: [127.0.0.0/8]";

describe("invariants", () => {
  let origin: RecordingOrigin;
  const scratch = mkdtempSync(join(tmpdir(), "sallyport-invariants-"));
  const roots = join(scratch, "roots.pem");
  beforeAll(async () => {
    origin = await recordingOrigin();
    writeFileSync(roots, ca.cert);
  });
  beforeEach(() => {
    origin.reset();
    origin.behave(answerRequests(() => OK));
  });
  afterAll(async () => {
    await origin[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true, force: true });
  });

  const get = (host: string, path = "/", more = ""): string =>
    `GET http://${host}:${origin.port}${path} HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n${more}Connection: close\r\n\r\n`;

  test("1. default deny, before any dial: an empty policy asks nothing and sends nothing", async () => {
    await using names = await createNameServer({ "origin.test": { a: ["127.0.0.1"] } });
    await using proxy = await runSallyport(
      `anonymous: default\npolicies: { default: {} }\nupstream: { resolvers: ["${names.address}"] }\n`,
    );
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 403 .*host-not-allowed/);
    expect(
      await talk(
        proxy,
        "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\nConnection: close\r\n\r\n",
      ),
    ).toMatch(/^HTTP\/1\.1 403 /);
    expect({ connections: origin.connections, asked: names.asked }).toEqual({ connections: 0, asked: [] });
  });

  test("2. nothing reaches an origin without its decision record", async () => {
    await using proxy = await runSallyport(allowing("origin.test"));
    let recorded = "";
    origin.behave((socket) =>
      socket.once("data", () => {
        recorded = auditText(proxy);
        socket.end(CLOSING);
      }),
    );
    expect(await talk(proxy, get("origin.test", "/secret"))).toMatch(/^HTTP\/1\.1 200 /);
    expect(recorded).toMatch(
      /"type":"decision".*"host":"origin\.test".*"verdict":"allow".*"path":"\/secret"/,
    );
    const log = join(proxy.directory, "data", "audit");
    // Moved first: what is being written there at this moment would keep the directory.
    renameSync(log, `${log}.gone`);
    writeFileSync(log, "no directory any more");
    rmSync(`${log}.gone`, { recursive: true });
    origin.reset();
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 503 .*audit-unavailable/);
    expect(origin.connections).toBe(0);
    rmSync(log);
    mkdirSync(log);
    await proxy.recorded((all) => all.some(({ type }) => type === "recovered"));
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("3. what was judged is what is sent: one reading, written anew", async () => {
    await using proxy = await runSallyport(allowing("origin.test"));
    const host = `ORIGIN.test:${origin.port}`;
    const answer = await talk(
      proxy,
      `GET http://${host}/a/../b?q=%41 HTTP/1.1\r\nhOsT: ${host}\r\nX-A: 1\r\nTransfer_Encoding: chunked\r\n` +
        "Keep-Alive: 1\r\nConnection: close, X-A\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(origin.received.replace(/sallyport-\w+/, "sallyport")).toBe(
      `GET /b?q=%41 HTTP/1.1\r\nHost: origin.test:${origin.port}\r\nVia: 1.1 sallyport\r\n\r\n`,
    );
    origin.reset();
    for (const lengths of ["Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length: 1, 2"]) {
      const twice = await talk(proxy, get("origin.test", "/", `${lengths}\r\n`));
      expect(twice).toMatch(/^HTTP\/1\.1 400 .*length-ambiguous/);
    }
    expect(origin.received).toBe("");
  });

  test("4. the address judged is the address dialed: a name is asked for once, and rebinding changes nothing", async () => {
    await using names = await createNameServer({ "origin.test": { a: ["127.0.0.1"], ttl: 0 } });
    await using proxy = await runSallyport(
      `${allowing("origin.test", "networks: [127.0.0.1/32]")}upstream: { resolvers: ["${names.address}"] }\n`,
    );
    // Not kept: an idle connection asks no name server, and its own address is judged again.
    origin.behave((socket) => socket.once("data", () => socket.end(CLOSING)));
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 200 /);
    expect(names.asked.filter((question) => question === "A origin.test")).toHaveLength(1);
    const [end] = (await proxy.recorded((all) => all.some(isCompletion))).filter(isCompletion);
    expect(end?.["address"]).toBe("127.0.0.1");
    origin.reset();
    names.zones.set("origin.test", { a: ["127.0.0.2"], ttl: 0 });
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 403 .*address-loopback/);
    expect(origin.connections).toBe(0);
  });

  test("5. SNI, CONNECT authority and Host agree, or it is denied", async () => {
    await using secure = await recordingOrigin(ca.issue({ names: ["origin.test", "other.test"] }));
    await using proxy = await runSallyport(allowing("*.test", LOOPBACK, roots));
    const at = { host: "origin.test", port: secure.port };
    await expect(talkTls(proxy, { ...at, sni: "other.test" }, "GET / HTTP/1.1\r\n\r\n")).rejects.toThrow();
    const wrongHost = `GET / HTTP/1.1\r\nHost: other.test:${secure.port}\r\nConnection: close\r\n\r\n`;
    expect(await talkTls(proxy, at, wrongHost)).toMatch(/^HTTP\/1\.1 403 .*host-mismatch/);
    expect(secure.connections).toBe(0);
    const right = `GET / HTTP/1.1\r\nHost: origin.test:${secure.port}\r\nConnection: close\r\n\r\n`;
    expect(await talkTls(proxy, at, right)).toMatch(/^HTTP\/1\.1 200 /);
    const reasons = (await proxy.records()).map((record) => record["reason"]);
    expect(reasons).toContain("sni-mismatch");
  });

  test("6. origin certificates are always verified: no byte leaves to one that is not trusted", async () => {
    await using stranger = await recordingOrigin(createCa().issue({ names: ["origin.test"] }));
    await using proxy = await runSallyport(allowing("origin.test", LOOPBACK, roots));
    const request = `GET /secret HTTP/1.1\r\nHost: origin.test:${stranger.port}\r\nConnection: close\r\n\r\n`;
    const answer = await talkTls(proxy, { host: "origin.test", port: stranger.port }, request);
    expect(answer).toMatch(/^HTTP\/1\.1 502 .*certificate-untrusted/);
    expect(stranger.received).toBe("");
  });

  test("7. credentials and the issuer key never leave", async () => {
    await using proxy = await runSallyport(
      `sandboxes: [{ id: ci-runner, secret: correct-horse-battery, policy: default }]\n${allowing("origin.test").replace("anonymous: default\n", "")}`,
    );
    const basic = Buffer.from("ci-runner:correct-horse-battery").toString("base64");
    const credentials = `Proxy-Authorization: Basic ${basic}\r\nProxy_Authorization: Basic ${basic}\r\n`;
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 407 /);
    expect(await talk(proxy, get("origin.test", "/", credentials))).toMatch(/^HTTP\/1\.1 200 /);
    const key = await talk(
      proxy,
      `GET http://sallyport.internal/ca.key HTTP/1.1\r\nHost: sallyport.internal\r\n${credentials}Connection: close\r\n\r\n`,
    );
    const seen = [origin.received, key, auditText(proxy), await proxy.metrics()].join("\n");
    expect(seen).not.toMatch(/proxy.authorization:|correct-horse|PRIVATE KEY/i);
    expect(seen).not.toContain(basic);
  });

  test("8. the proxy's own listeners cannot be reached through it, whatever a rule says", async () => {
    await using proxy = await runSallyport(
      `anonymous: default\nupstream: { hosts: { me.test: [127.0.0.1], other.test: [127.0.0.2] } }\npolicies:\n  default:\n    methods: all\n` +
        `    allow: [{ host: 127.0.0.0/8, ${LOOPBACK} }, { host: "*.test", ${LOOPBACK} }]\n`,
    );
    for (const port of [proxy.adminPort, proxy.port]) {
      for (const host of ["127.0.0.1", "127.0.0.2", "me.test", "other.test"]) {
        const answer = await talk(
          proxy,
          `GET http://${host}:${port}/metrics HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 403 .*address-own/);
      }
    }
    const direct = await talk(proxy, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    expect(direct).toMatch(/^HTTP\/1\.1 400 .*target-malformed/);
  });

  test("9. every wait has a bound, every cache a size, every label a fixed set of values", async () => {
    await using proxy = await runSallyport(
      `${allowing("origin.test")}limits: { connections: 2, head_time: 2s, response_head: 100ms }\n`,
    );
    const slow = talk(proxy, "GET http://origin.test/ HTTP/1.1\r\nHost:");
    const holder = connect(proxy.port, "127.0.0.1").resume();
    const silent = once(holder, "close");
    await once(holder, "connect");
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 503 .*too-many-connections/);
    expect(await slow).toMatch(/^HTTP\/1\.1 408 .*request-timeout/);
    await silent;
    origin.behave(() => {});
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 504 .*upstream-read-timeout/);
    await talk(proxy, get("chosen-by-the-sandbox.test").replace("GET", "CHOSENBYTHESANDBOX"));
    const metrics = await proxy.metrics();
    expect(metrics).toContain('method="other"');
    expect(metrics).not.toMatch(/chosen|origin\.test/i);
  });

  test("10. an invalid configuration never replaces a valid one", async () => {
    await using proxy = await runSallyport(allowing("origin.test"));
    origin.behave((socket) => socket.once("data", () => socket.end(CLOSING)));
    for (const broken of [
      "anonymous: default\npolicies: { default: { mehtods: all } }\n",
      "policies: [",
      "",
    ]) {
      expect(await proxy.reconfigure(broken === "" ? "anonymous:\n" : broken)).toBe(false);
      expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 200 /);
    }
    expect(await proxy.reconfigure("anonymous: default\npolicies: { default: {} }\n")).toBe(true);
    expect(await talk(proxy, get("origin.test"))).toMatch(/^HTTP\/1\.1 403 /);
  });
});

/** A policy that lets this host be fetched from, wherever on loopback it is. */
function allowing(host: string, networks = LOOPBACK, roots?: string): string {
  const hosts = "{ origin.test: [127.0.0.1], other.test: [127.0.0.1] }";
  const upstream =
    networks === LOOPBACK
      ? `upstream: { hosts: ${hosts}${roots === undefined ? "" : `, trust: ["${roots}"]`} }\n`
      : "";
  return `anonymous: default\n${upstream}policies: { default: { allow: [{ host: "${host}", ${networks} }] } }\n`;
}

/** All that is answered until the proxy closes. */
async function talk(proxy: RunningSallyport, request: string): Promise<string> {
  const socket = connect(proxy.port, "127.0.0.1");
  socket.write(request, "latin1");
  return readAll(socket);
}

async function talkTls(
  proxy: RunningSallyport,
  { host, port, sni = host }: { host: string; port: number; sni?: string },
  request: string,
): Promise<string> {
  const socket = connect(proxy.port, "127.0.0.1");
  socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  await once(socket, "readable");
  expect(String(socket.read())).toMatch(/^HTTP\/1\.1 200 /);
  const secured = connectTls({
    socket,
    servername: sni,
    ca: proxy.trustAnchor,
    checkServerIdentity: () => undefined,
  });
  secured.write(request);
  return readAll(secured);
}

async function readAll(socket: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += chunk.toString("latin1");
  return text;
}

function auditText({ directory }: RunningSallyport): string {
  const log = join(directory, "data", "audit");
  const segments = readdirSync(log).filter((name) => name.endsWith(".jsonl"));
  return segments.map((name) => readFileSync(join(log, name), "utf8")).join("");
}

const isCompletion = (record: { readonly type: string }): boolean => record.type === "completion";
