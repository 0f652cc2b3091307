import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import tls from "node:tls";
import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import type { LeafCache } from "../../src/tls/leaf-cache.ts";
import type { Issuer } from "../../src/tls/trust-anchor.ts";
import { freshIssuer, host, leafCache, serveHost } from "./support.ts";

const HOUR = 3_600_000;

describe("what is held", () => {
  test("a context is made once and found again", async () => {
    const { cache, counts } = counted(await freshIssuer());
    const first = cache.contextFor(host("a.example"));
    expect(cache.contextFor(host("a.example"))).toBe(first);
    expect(cache.contextFor(host("b.example"))).not.toBe(first);
    expect({ ...counts, size: cache.size() }).toEqual({ minted: 2, hit: 1, size: 2 });
  });

  test("it is bounded, and the one used longest ago goes", async () => {
    const { cache, counts } = counted(await freshIssuer(), { max: 2 });
    for (const name of ["a.example", "b.example", "a.example", "c.example", "a.example", "b.example"]) {
      cache.contextFor(host(name));
    }
    expect({ ...counts, size: cache.size() }).toEqual({ minted: 4, hit: 2, size: 2 });
  });

  test("a leaf is renewed after a day, and when the clock is set back beyond its start", async () => {
    const start = Date.now();
    let at = start;
    const { cache, counts } = counted(await freshIssuer(start - 100 * HOUR), { now: () => at });
    const hits = [0, 24 * HOUR - 1, 24 * HOUR, 48 * HOUR - 1, 0, -HOUR, -48 * HOUR].map((offset) => {
      at = start + offset;
      const before = counts.hit;
      cache.contextFor(host("a.example"));
      return counts.hit > before;
    });
    expect(hits).toEqual([false, true, false, true, true, false, false]);
  });

  test("a leaf is not handed out once its issuer has expired", async () => {
    const issuer = await freshIssuer();
    let at = issuer.notAfter - HOUR;
    const { cache } = counted(issuer, { now: () => at });
    cache.contextFor(host("a.example"));
    at = issuer.notAfter - 1;
    cache.contextFor(host("a.example"));
    at = issuer.notAfter;
    expect(() => cache.contextFor(host("a.example"))).toThrow(ProxyFault);
  });
});

test("minting has a rate; what is held costs nothing of it", async () => {
  let at = Date.now();
  const { cache } = counted(await freshIssuer(), { mintBurst: 2, mintsPerSecond: 4, now: () => at });
  const minted = (name: string): boolean => {
    try {
      cache.contextFor(host(name));
      return true;
    } catch (fault) {
      expect(fault).toMatchObject({ name: "ProxyFault", reason: "mint-limit" });
      return false;
    }
  };
  expect(["a.example", "b.example", "c.example", "a.example"].map(minted)).toEqual([true, true, false, true]);
  at += 249;
  expect(minted("c.example")).toBe(false);
  at += 1;
  expect(minted("c.example")).toBe(true);
  expect(minted("d.example")).toBe(false);
  // A clock that is set back earns nothing, and does not stop the earning.
  at -= HOUR;
  expect(minted("d.example")).toBe(false);
  at += 250;
  expect(minted("d.example")).toBe(true);
  // However long it is quiet, no more than the burst is saved up.
  at += HOUR;
  expect(["e.example", "f.example", "g.example"].map(minted)).toEqual([true, true, false]);
});

test("one asker's flood leaves the others their share, and all together have a bound", async () => {
  const now = Date.now();
  const cache = leafCache(await freshIssuer(), { mintsPerSecond: 1, mintBurst: 2, max: 100, now: () => now });
  let count = 0;
  const minted = (asker: string): boolean => {
    try {
      cache.contextFor(host(`n${count++}.example`), asker);
      return true;
    } catch {
      return false;
    }
  };
  expect([minted("a"), minted("a"), minted("a"), minted("a")]).toEqual([true, true, false, false]);
  expect([minted("b"), minted("b"), minted("b")]).toEqual([true, true, false]);
  // Two askers have had their two of sixteen each.
  const others = Array.from({ length: 10 }, (_, at) => [minted(`c${at}`), minted(`c${at}`)]).flat();
  expect(others.filter(Boolean)).toHaveLength(12);
});

describe.each(["TLSv1.2", "TLSv1.3"] as const)("sessions under %s", (version) => {
  test("resume for the same host and for no other", async () => {
    const issuer = await freshIssuer();
    const cache = leafCache(issuer);
    const one = { issuer, version, name: "one.example", port: await serveHost(cache, "one.example") };
    const other = { issuer, version, name: "other.example", port: await serveHost(cache, "other.example") };
    const first = await connect(one);
    expect(first).toMatchObject({ reused: false, protocol: version });
    expect(await connect({ ...one, session: first.session })).toMatchObject({ reused: true });
    expect(await connect({ ...other, session: first.session })).toMatchObject({ reused: false });
  });

  test("resume after a renewal, and in another process that shares the ticket keys only", async () => {
    const issuer = await freshIssuer();
    const ticketKeys = randomBytes(48);
    const name = "one.example";
    const serve = async (cache: LeafCache) => ({ issuer, version, name, port: await serveHost(cache, name) });
    const first = await connect(await serve(leafCache(issuer, { ticketKeys: () => ticketKeys })));
    const sharing = await serve(leafCache(issuer, { ticketKeys: () => ticketKeys }));
    const apart = await serve(leafCache(issuer));
    expect(await connect({ ...sharing, session: first.session })).toMatchObject({ reused: true });
    expect(await connect({ ...apart, session: first.session })).toMatchObject({ reused: false });
  });
});

test("TLS 1.1 is refused, 1.2 has forward secrecy, and the proxy's order of suites counts", async () => {
  const issuer = await freshIssuer();
  const to = { issuer, name: "a.example", port: await serveHost(leafCache(issuer), "a.example") };
  await expect(connect({ ...to, version: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" })).rejects.toThrow();
  await expect(connect({ ...to, version: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" })).rejects.toThrow();
  const reversed = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256";
  expect(await connect({ ...to, version: "TLSv1.2", ciphers: reversed })).toMatchObject({
    cipher: "ECDHE-ECDSA-AES128-GCM-SHA256",
  });
});

test("a TLS 1.2 connection is not renegotiated", async () => {
  const issuer = await freshIssuer();
  const secureContext = leafCache(issuer).contextFor(host("a.example"));
  const server = createServer((raw) => {
    new tls.TLSSocket(raw, { isServer: true, secureContext }).on("error", () => {}).resume();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const socket = tls.connect({
    port,
    host: "127.0.0.1",
    ca: issuer.anchorPem,
    servername: "a.example",
    maxVersion: "TLSv1.2",
  });
  await once(socket.resume(), "secureConnect");
  const outcome = await new Promise<Error | null>((resolve) => {
    socket.once("error", resolve);
    socket.renegotiate({}, resolve);
  });
  expect(outcome?.message).toMatch(/no renegotiation/);
  socket.destroy();
  server.close();
});

function counted(issuer: Issuer, options: Partial<Parameters<typeof leafCache>[1]> = {}) {
  const counts = { minted: 0, hit: 0 };
  const on = { minted: () => void counts.minted++, hit: () => void counts.hit++ };
  return { cache: leafCache(issuer, { ...options, on }), counts };
}

type Connection = { reused: boolean; protocol: string | null; cipher: string; session: Buffer };

/** Connects, verified, and reads to the end: TLS 1.3 hands its tickets out after the handshake. */
async function connect(to: {
  issuer: Issuer;
  port: number;
  name: string;
  version: tls.SecureVersion;
  session?: Buffer;
  ciphers?: string;
}): Promise<Connection> {
  const socket = tls.connect({
    host: "127.0.0.1",
    port: to.port,
    servername: to.name,
    ca: to.issuer.anchorPem,
    minVersion: to.version,
    maxVersion: to.version,
    ...(to.session ? { session: to.session } : {}),
    ...(to.ciphers ? { ciphers: to.ciphers } : {}),
  });
  let session = to.session ?? Buffer.alloc(0);
  socket.on("session", (fresh) => {
    session = fresh;
  });
  socket.resume();
  await once(socket, "secureConnect");
  const reached = {
    reused: socket.isSessionReused(),
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().name,
  };
  await once(socket, "close");
  return { ...reached, session };
}
