// Cost of a new TLS name: minting the leaf, and making its TLS context. `node bench/mint.ts [--json]`
// Writes nothing but a temporary directory, and reports; it never gates.

import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Host } from "../src/net/host.ts";
import { createLeafCache } from "../src/tls/leaf-cache.ts";
import { mintLeaf } from "../src/tls/mint.ts";
import { openTrustAnchor } from "../src/tls/trust-anchor.ts";

const ROUNDS = 2000;
const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
try {
  const issuer = await openTrustAnchor({ directory });
  const ticketKeys = randomBytes(48);
  const cache = createLeafCache({
    issuer,
    max: ROUNDS * 2,
    mintsPerSecond: 1e9,
    mintBurst: 1e9,
    now: Date.now,
    ticketKeys: () => ticketKeys,
    on: { minted: () => {}, hit: () => {} },
  });
  const results = {
    "mint a leaf": measure((host) => mintLeaf(issuer, host, Date.now())),
    "mint a leaf and make its TLS context": measure((host) => cache.contextFor(host)),
    "find a cached TLS context": measure((host) => cache.contextFor(host)),
    "make a P-256 key pair (spared by sharing one)": measure(() =>
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ),
  };
  if (process.argv.includes("--json")) {
    console.log(
      JSON.stringify({
        bench: "mint",
        node: process.version,
        cpu: cpus()[0]?.model,
        rounds: ROUNDS,
        results,
      }),
    );
  } else {
    for (const [name, { medianMs, p99Ms }] of Object.entries(results)) {
      console.log(
        `${name.padEnd(48)} median ${medianMs.toFixed(4)} ms   99th percentile ${p99Ms.toFixed(4)} ms`,
      );
    }
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}

function measure(action: (host: Host) => unknown): { medianMs: number; p99Ms: number } {
  for (let round = 0; round < ROUNDS / 10; round++) action(`warm-${round}.bench.example` as Host);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const host = `host-${round}.bench.example` as Host;
    const start = performance.now();
    action(host);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { medianMs: times[ROUNDS / 2]!, p99Ms: times[Math.floor(ROUNDS * 0.99)]! };
}
