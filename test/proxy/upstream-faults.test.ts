// What a sandbox is told when an origin fails it: one reason for each kind of failure, the same inside a tunnel and
// outside, in a connection that can be used further; and that an origin that is not proved gets no octet of the request.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { createNameServer } from "../support/dns.ts";
import { createCa, createSelfSigned, type Issued } from "../support/pki.ts";
import { recordingOrigin, type Behaviour } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { answers, tunnelWire, wire, type Wire } from "../support/wire.ts";

const DAY = 86_400_000;
const names = ["origin.test"];
const directory = mkdtempSync(join(tmpdir(), "sallyport-faults-"));
const ca = createCa();
const good = ca.issue({ names });
const revoked = ca.issue({ names });
const dns = await createNameServer({ "broken.test": "SERVFAIL", "refusing.test": "REFUSED" });
let proxy: RunningSallyport;

beforeAll(async () => {
  writeFileSync(join(directory, "ca.pem"), ca.cert);
  writeFileSync(join(directory, "crl.pem"), ca.crl({ revoked: [revoked] }));
  proxy = await runSallyport(`
upstream:
  hosts: { origin.test: [127.0.0.1] }
  resolvers: ["${dns.address}"]
  trust: [${directory}/ca.pem]
  crls: [${directory}/crl.pem]
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: "**.test", networks: [127.0.0.0/8] }] }
limits: { dns: 2s }
`);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await dns[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

type Ask = { readonly host?: string; readonly port: number; readonly tunnelled: boolean };
let asked = 0;

/** Asks in a connection that can be used further, and shows that it can; gives the answer to the first request. */
async function ask({
  host = "origin.test",
  port,
  tunnelled,
}: Ask): Promise<{ answer: string; path: string }> {
  const authority = `${host}:${port}`;
  using one: Wire = tunnelled
    ? await tunnelWire(proxy.port, { authority, trustAnchor: proxy.trustAnchor })
    : await wire(proxy.port);
  const path = `/asked-${++asked}`;
  const target = tunnelled ? path : `http://${authority}${path}`;
  one.send(`PUT ${target} HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 6\r\n\r\nsecret`);
  const text = await one.until((received) => answers(received).length === 1);
  // Another host's request is refused, in the same connection.
  one.send(`GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n`);
  expect((await one.until((received) => answers(received).length === 2)).slice(text.length)).toMatch(
    /^HTTP\/1\.1 40[03] /,
  );
  return { answer: answers(text)[0] ?? "", path };
}

async function expectFault(
  { answer, path }: { answer: string; path: string },
  reason: Reason,
): Promise<void> {
  const { status, proxyError, text } = REASONS[reason];
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^\r\n]*\\(sallyport: ${reason}\\)\r\n`));
  expect(answer).toContain(`\r\nProxy-Status: sallyport; error=${proxyError}; details="${reason}"\r\n`);
  expect(answer).toContain(`\r\nSallyport-Reason: ${reason}\r\n`);
  expect(answer).toContain(text);
  // No inside address, path or stack.
  expect(answer).not.toMatch(/127\.0\.0\.1|\/src\/|\.ts\b|node:|    at /);
  const records = await proxy.recorded((all) => {
    const id = all.find((one) => one["path"] === path)?.["id"];
    return all.some((one) => one.type === "completion" && one["id"] === id);
  });
  const id = records.find((one) => one["path"] === path)?.["id"];
  const own = records.filter((one) => one["id"] === id);
  expect(own.map((one) => one.type)).toEqual(["decision", "completion"]);
  expect(answer).toContain(`\r\nSallyport-Audit-Id: ${String(id)}\r\n`);
  expect(own[1]).toMatchObject({ outcome: "fault", reason, status });
}

const ways = [
  ["plain", false],
  ["in a tunnel", true],
] as const;

describe.each(ways)("finding and reaching it, %s", (_way, tunnelled) => {
  test.each<[string, Reason]>([
    ["missing.test", "dns-not-found"],
    ["broken.test", "dns-failed"],
    ["refusing.test", "dns-failed"],
  ])("%s: %s", async (host, reason) => {
    const result = await ask({ host, port: 443, tunnelled });
    await expectFault(result, reason);
    // Before there is an address to judge nothing is allowed, so it is the decision that says it.
  });

  test("nobody listens there: upstream-refused", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    await expectFault(await ask({ port, tunnelled }), "upstream-refused");
  });

  test.each<[string, Behaviour, Reason]>([
    ["closes when asked", (socket) => void socket.once("data", () => socket.end()), "upstream-reset"],
    ["resets when asked", (socket) => void socket.once("data", () => socket.destroy()), "upstream-reset"],
    ["closes at once", (socket) => void socket.end(), "upstream-reset"],
    ["half a head", says("HTTP/1.1 200 OK\r\nContent-"), "upstream-reset"],
    ["no HTTP", says("SSH-2.0-OpenSSH_9.7\r\n\r\n"), "upstream-malformed"],
    ["HTTP/2.0", says("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), "upstream-malformed"],
    ["status 99", says("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"), "upstream-malformed"],
    [
      "two lengths",
      says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
      "upstream-malformed",
    ],
    [
      "both framings",
      says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      "upstream-malformed",
    ],
    ["signed length", says("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"), "upstream-malformed"],
    [
      "folded field",
      says("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
      "upstream-malformed",
    ],
    ["bare LF", says("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "upstream-malformed"],
    [
      "a challenge for the proxy",
      says("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
      "upstream-malformed",
    ],
    [
      "an upgrade unasked",
      says("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
      "upstream-upgrade-failed",
    ],
  ])("%s: %s", async (_name, behaviour, reason) => {
    await using origin = await recordingOrigin(tunnelled ? good : undefined);
    origin.behave(behaviour);
    await expectFault(await ask({ port: origin.port, tunnelled }), reason);
  });
});

describe("proving it: no octet of the request reaches who fails", () => {
  test.each<[string, Reason, Issued]>([
    [
      "expired",
      "certificate-expired",
      ca.issue({ names, notBefore: new Date(Date.now() - 5 * DAY), notAfter: new Date(Date.now() - DAY) }),
    ],
    [
      "not valid yet",
      "certificate-not-yet-valid",
      ca.issue({ names, notBefore: new Date(Date.now() + DAY) }),
    ],
    ["self-signed", "certificate-untrusted", createSelfSigned({ names })],
    ["of another authority", "certificate-untrusted", createCa({ commonName: "Foreign" }).issue({ names })],
    ["for another name", "certificate-name-mismatch", ca.issue({ names: ["other.test"] })],
    [
      "with the name in the subject only",
      "certificate-name-mismatch",
      ca.issue({ commonName: "origin.test" }),
    ],
    ["weak key", "certificate-weak", ca.issue({ names, key: "rsa1024" })],
    ["weak signature", "certificate-weak", ca.issue({ names, hash: "sha1" })],
    ["revoked", "certificate-revoked", revoked],
    ["for clients", "certificate-invalid", ca.issue({ names, usage: "clientAuth" })],
    ["unknown critical extension", "certificate-invalid", ca.issue({ names, unknownCritical: true })],
  ])("%s: %s", async (_name, reason, certificate) => {
    await using origin = await recordingOrigin(certificate);
    await expectFault(await ask({ port: origin.port, tunnelled: true }), reason);
    expect(origin.connections).toBe(1);
    expect(origin.received).toBe("");
  });

  test.each<[string, Behaviour, Reason]>([
    ["no TLS", (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"), "upstream-tls-failed"],
    ["closes at once", (socket) => void socket.end(), "upstream-reset"],
    [
      "closes on the ClientHello",
      (socket) => void socket.once("data", () => socket.destroy()),
      "upstream-reset",
    ],
  ])("%s: %s", async (_name, behaviour, reason) => {
    await using origin = await recordingOrigin();
    origin.behave(behaviour);
    await expectFault(await ask({ port: origin.port, tunnelled: true }), reason);
    expect(origin.received).not.toMatch(/PUT|secret/);
  });
});

/** Answers the first octets of a request with these, and is done. */
function says(octets: string): Behaviour {
  return (socket) => void socket.once("data", () => socket.end(octets, "latin1"));
}
