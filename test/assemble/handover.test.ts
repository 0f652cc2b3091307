import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Handover } from "../../src/assemble/handover.ts";
import { currentOf, workerCount } from "../../src/assemble/settings.ts";
import type { Settings } from "../../src/cluster/messages.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Current } from "../../src/config/reloader.ts";
import { decide } from "../../src/policy/decide.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { createCa } from "../support/pki.ts";

const directory = await mkdtemp(join(tmpdir(), "sallyport-handover-"));
afterAll(() => rm(directory, { recursive: true }));

async function current(yaml: string, generation: number): Promise<Current> {
  await writeFile(join(directory, "sallyport.yaml"), yaml);
  const loaded = await loadConfig({ cwd: directory, env: {} });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics));
  const { config, policies, requirements } = loaded;
  return { generation, config, policies, requirements, snapshot: loaded.snapshot(generation) };
}

/** As it arrives in a worker. */
function crossed(settings: Settings): Settings {
  return structuredClone(settings);
}

test("what crosses is what was judged: secrets, hosts, policies, the content of files", async () => {
  const [one, two] = [createCa(), createCa()];
  await writeFile(join(directory, "ca.pem"), one.cert);
  const handover = new Handover(createMetrics({ version: "1" }));
  const yaml = `
workers: 2
upstream: { trust: [ca.pem], hosts: { a.test: [127.0.0.1] } }
sandboxes: [{ id: one, secret: secret-of-one-16, policy: default }]
policies: { default: { preset: none, allow: [a.test] } }
`;
  await handover.publish(await current(yaml, 1), 2);
  // Changed since: no worker sees it.
  await writeFile(join(directory, "ca.pem"), two.cert);
  const settings = crossed(handover.settings);
  expect(settings.materials.origins.anchors).toHaveLength(1);
  expect(settings.materials.origins.anchors[0]?.replace(/\s/g, "")).toBe(one.cert.replace(/\s/g, ""));
  const { config, snapshot, generation } = currentOf(settings);
  expect(generation).toBe(1);
  expect(config.sandboxes[0]?.secret?.reveal()).toBe("secret-of-one-16");
  expect(JSON.stringify(config)).not.toContain("secret-of-one-16");
  expect(config.upstream.hosts.size).toBe(1);
  const target = parseAuthority("a.test", 443);
  if (target === undefined) throw new Error("no target");
  const verdict = decide(snapshot, { stage: "connect", policy: "default", at: 0, target });
  expect(verdict.action).toBe("allow");
});

test("bounds are shared out and never exceeded; what one process has alone stays whole", async () => {
  const handover = new Handover(createMetrics({ version: "1" }));
  const yaml = "workers: 3\nlimits: { connections: 10, connections_per_source: 2, mintings: 7 }\n";
  await handover.publish(await current(yaml, 1), 3);
  const { limits } = handover.settings.config;
  expect(limits).toMatchObject({ connections: 3, connectionsPerSource: 1, mintsPerSecond: 7, leaves: 1_000 });
});

test("what takes effect at the next start holds for a worker that starts later", async () => {
  const handover = new Handover(createMetrics({ version: "1" }));
  await handover.publish(await current("workers: 2\nlisten: 127.0.0.1:1\nadmin: false\n", 1), 2);
  const told: number[] = [];
  handover.to({ takeRoster: async () => {}, publish: async ({ generation }) => void told.push(generation) });
  const next = "workers: 3\nlisten: 127.0.0.1:2\nlog: { level: debug }\nlimits: { leaves: 5, head: 1KiB }\n";
  await handover.publish(await current(next, 2), 2);
  const { config, generation } = handover.settings;
  expect({ generation, told }).toEqual({ generation: 2, told: [2] });
  expect(config).toMatchObject({ workers: 2, admin: false, log: { level: "info" } });
  expect(config.listen).toEqual([{ host: "127.0.0.1", port: 1 }]);
  expect(config.limits).toMatchObject({ leaves: 1_000, headOctets: 1_024 });
});

test("what cannot be used is refused before any worker is told", async () => {
  const handover = new Handover(createMetrics({ version: "1" }));
  await writeFile(join(directory, "ca.pem"), createCa().cert);
  const yaml = "workers: 2\nupstream: { trust: [ca.pem] }\n";
  await handover.publish(await current(yaml, 1), 2);
  handover.to({ takeRoster: async () => {}, publish: () => Promise.reject(new Error("told")) });
  const next = await current(yaml, 2);
  await writeFile(join(directory, "ca.pem"), "no certificate");
  await expect(handover.publish(next, 2)).rejects.toThrow("holds no certificate");
  expect(handover.settings.generation).toBe(1);
});

test("auto is at least one, and at most 64", async () => {
  const { config } = await current("workers: auto\n", 1);
  const count = workerCount(config);
  expect(count).toBeGreaterThanOrEqual(1);
  expect(count).toBeLessThanOrEqual(64);
  expect(workerCount({ ...config, workers: 3 })).toBe(3);
});
