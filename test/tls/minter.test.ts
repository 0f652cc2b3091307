// Leaves for processes without the issuer key: minted once, within the bounds of one process, and nothing but certificates.

import { randomBytes, X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { createMinter, type MintedLeaf } from "../../src/tls/minter.ts";
import { createRemoteLeafCache } from "../../src/tls/remote-leaf-cache.ts";
import type { Issuer } from "../../src/tls/trust-anchor.ts";
import { freshIssuer, host } from "./support.ts";

const DAY = 86_400_000;

function minterOf(issuer: Issuer, options: Partial<Parameters<typeof createMinter>[0]> = {}) {
  let minted = 0;
  const minter = createMinter({
    issuer,
    max: 10,
    mintsPerSecond: 1,
    mintBurst: 2,
    now: Date.now,
    onMinted: () => minted++,
    ...options,
  });
  return { minter, minted: () => minted };
}

describe("the minter", () => {
  test("mints each leaf once, whoever asks, until it is a day old", async () => {
    let now = Date.now();
    const { minter, minted } = minterOf(await freshIssuer(), { now: () => now });
    const first = minter.leafFor(host("a.example"), "one");
    expect(minter.leafFor(host("a.example"), "two")).toBe(first);
    now += DAY;
    expect(minter.leafFor(host("a.example"), "two")).not.toBe(first);
    expect(minted()).toBe(2);
  });

  test("bounds what one asker mints, and leaves the others theirs", async () => {
    const { minter } = minterOf(await freshIssuer());
    for (const name of ["a.example", "b.example"]) minter.leafFor(host(name), "one");
    expect(() => minter.leafFor(host("c.example"), "one")).toThrow(new ProxyFault("mint-limit"));
    expect(minter.leafFor(host("a.example"), "one").chainPem).toContain("BEGIN CERTIFICATE");
    minter.leafFor(host("c.example"), "two");
  });

  test("hands out no key (invariant 7)", async () => {
    const { minter } = minterOf(await freshIssuer());
    const leaf = minter.leafFor(host("a.example"), "one");
    expect(Object.keys(leaf)).toEqual(["chainPem", "from", "until"]);
    expect(leaf.chainPem).not.toContain("KEY");
    expect(new X509Certificate(leaf.chainPem).subjectAltName).toBe("DNS:a.example");
  });
});

describe("a cache of what another process mints", () => {
  async function cacheOf(ask: (name: string, asker: string) => Promise<MintedLeaf>) {
    const issuer = await freshIssuer();
    const { minter } = minterOf(issuer);
    const asked: string[] = [];
    let hits = 0;
    const cache = createRemoteLeafCache({
      keyPem: issuer.leafKey.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      ticketKeys: () => TICKET_KEYS,
      max: 10,
      now: Date.now,
      ask: async (name, asker) => {
        asked.push(`${name} ${asker}`);
        await ask(name, asker);
        return minter.leafFor(name, asker);
      },
      on: { hit: () => hits++, entries: () => {} },
    });
    return { cache, asked, hits: () => hits };
  }
  const at = Promise.resolve({} as MintedLeaf);

  test("asks once for all who wait, and answers at once from then on", async () => {
    const { cache, asked, hits } = await cacheOf(() => at);
    const [one, two] = await Promise.all([
      cache.contextFor(host("a.example"), "one"),
      cache.contextFor(host("a.example"), "one"),
    ]);
    expect(one).toBe(two);
    expect(cache.contextFor(host("a.example"), "two")).toBe(one);
    expect({ asked, hits: hits() }).toEqual({ asked: ["a.example one"], hits: 1 });
  });

  test.each(["mint-limit", "mint-unavailable"] as const)(
    "%s is nobody's leaf, and is asked anew",
    async (reason) => {
      let fails = true;
      const { cache, asked } = await cacheOf(() => {
        if (fails) throw new ProxyFault(reason);
        return at;
      });
      await expect(cache.contextFor(host("a.example"), "one")).rejects.toThrow(new ProxyFault(reason));
      fails = false;
      await cache.contextFor(host("a.example"), "one");
      expect(asked).toHaveLength(2);
    },
  );

  test("one asker's spent share is not another's", async () => {
    const { cache } = await cacheOf((_name, asker) => {
      if (asker === "flood") throw new ProxyFault("mint-limit");
      return at;
    });
    const [flood, other] = await Promise.allSettled([
      cache.contextFor(host("a.example"), "flood"),
      cache.contextFor(host("a.example"), "one"),
    ]);
    expect([flood.status, other.status]).toEqual(["rejected", "fulfilled"]);
  });

  test("questions that wait are bounded", async () => {
    const { cache } = await cacheOf(() => new Promise(() => {}));
    for (let name = 0; name < 4_096; name++) void cache.contextFor(host(`n${name}.example`), "one");
    expect(() => cache.contextFor(host("one-more.example"), "one")).toThrow(new ProxyFault("mint-limit"));
  });
});

const TICKET_KEYS = randomBytes(48);
