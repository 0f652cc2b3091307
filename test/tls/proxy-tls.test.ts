import { randomBytes } from "node:crypto";
import { createServer, connect, type TLSSocket } from "node:tls";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseHost } from "../../src/net/host.ts";
import { proxyLeaf } from "../../src/assemble/proxy-leaf.ts";
import { createProxyTls, type ProxyTlsOptions } from "../../src/tls/proxy-tls.ts";
import { type Issuer, openTrustAnchor } from "../../src/tls/trust-anchor.ts";
import { createCa } from "../support/pki.ts";

const directory = mkdtempSync(join(tmpdir(), "sallyport-proxy-tls-"));
const names = [parseHost("proxy.test")!, parseHost("[2001:db8::1]")!];
const ca = createCa();
const TICKET_KEYS = randomBytes(48);
let issuer: Issuer;
let now = Date.now();

beforeAll(async () => void (issuer = await openTrustAnchor({ directory })));
afterAll(() => rmSync(directory, { recursive: true }));

const made = (more: Partial<ProxyTlsOptions> = {}) =>
  createProxyTls({
    leafFor: (name) => proxyLeaf(issuer, name, now),
    names,
    certificate: undefined,
    clientCa: undefined,
    clientCertificates: "optional",
    ticketKeys: TICKET_KEYS,
    now: () => now,
    ...more,
  });

test("a context for each of its names, the first for who names none, none for any other", async () => {
  const tls = made();
  const first = await tls.contextFor(names[0]);
  expect(first).toBeDefined();
  expect(await tls.contextFor(undefined)).toBe(first);
  expect(await tls.contextFor(names[1])).not.toBe(first);
  expect(await tls.contextFor(parseHost("www.proxy.test"))).toBeUndefined();
  expect(tls.clientCertificates).toBe("none");
});

test("a leaf is renewed after a day", async () => {
  const tls = made();
  const first = await tls.contextFor(names[0]);
  now += 86_399_000;
  expect(await tls.contextFor(names[0])).toBe(first);
  now += 2_000;
  expect(await tls.contextFor(names[0])).not.toBe(first);
  now = Date.now();
});

test("an own certificate is shown for every name", async () => {
  const own = ca.issue({ names: ["proxy.test"], key: "rsa2048" });
  const tls = made({
    certificate: { cert: own.chain, key: own.key },
    clientCa: ca.cert,
    clientCertificates: "required",
  });
  expect(await tls.contextFor(names[0])).toBe(await tls.contextFor(names[1]));
  expect(tls.clientCertificates).toBe("required");
});

test("what cannot be used is told at once", () => {
  const own = ca.issue({ names: ["proxy.test"] });
  const other = ca.issue({ names: ["proxy.test"] });
  expect(() => made({ certificate: { cert: own.cert, key: other.key } })).toThrow();
  expect(() => made({ certificate: { cert: "nothing", key: own.key } })).toThrow();
  expect(() => made({ clientCa: "nothing" })).toThrow(/no certificate/);
  expect(() =>
    made({ clientCa: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }),
  ).toThrow();
});

test("its own certificate is one that clients verify", async () => {
  const context = (await made().contextFor(undefined))!;
  const server = createServer({ SNICallback: (_name, done) => done(null, context) });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket: TLSSocket = connect({
    port,
    host: "127.0.0.1",
    servername: "proxy.test",
    ca: issuer.anchorPem,
  });
  await once(socket, "secureConnect");
  expect(socket.authorized).toBe(true);
  socket.destroy();
  server.close();
});
