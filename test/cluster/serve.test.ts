// Two workers are one proxy: every request on record, one leaf for a host, sessions that either resumes, one set of numbers.

import { once } from "node:events";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { sallyportHere } from "../cli/support.ts";
import { answers, wire, wireOf } from "../support/wire.ts";
import { type Cluster, load, startCluster, workerOf } from "./support.ts";

// Several processes start, each of which compiles what it runs.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe("two workers", () => {
  test("share the connections; each request has its two records, and all chains verify", async () => {
    const target = `http://a.test:${cluster.origin.port}/spread`;
    let made = 0;
    const served = new Set<string>();
    while (served.size < 2) {
      const upTo = (made += 64);
      const outcome = await load(cluster.child.port, target, {
        lanes: 32,
        enough: ({ answered }) => answered >= 64,
      });
      expect(outcome.refused + outcome.cut).toBe(0);
      made += outcome.answered - 64;
      expect(made).toBeGreaterThanOrEqual(upTo);
      const decisions = (await cluster.records()).filter(({ type }) => type === "decision");
      for (const record of decisions) served.add(workerOf(record));
      expect(made).toBeLessThan(5_000);
    }
    await expect.poll(async () => count(await cluster.records(), "completion")).toBe(made);
    expect(count(await cluster.records(), "decision")).toBe(made);
    const ids = (await cluster.records()).filter(({ type }) => type === "decision").map(({ id }) => id);
    expect(new Set(ids).size).toBe(made);

    const { text } = await cluster.admin("/metrics");
    const counted = [...text.matchAll(/^sallyport_decisions_total\{verdict="allow".*\} (\d+)$/gm)];
    expect(counted.reduce((sum, [, value]) => sum + Number(value), 0)).toBe(made);
    expect(text).toMatch(/^sallyport_connections_open 0$/m);
    expect(text).toMatch(/^sallyport_workers\{state="ready"\} 2$/m);
    expect(text).toMatch(/^sallyport_policy_generation 1$/m);
    expect(text).toMatch(/^sallyport_build_info\{.*\} 1$/m);

    const verified = await sallyportHere(["audit", "verify"], { cwd: cluster.directory });
    expect(verified).toMatchObject({ status: 0 });
    expect(verified.stdout).toMatch(/^primary:\nwhole: .*\nworker-1:\nwhole: .*\nworker-2:\nwhole: /);
    const { stdout } = await sallyportHere(["audit", "tail", "--all", "--json"], { cwd: cluster.directory });
    const times = stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { at: string }).at);
    expect(times).toEqual(times.toSorted());
    expect(times.length).toBeGreaterThan(2 * made);
  });

  test("show one leaf, minted once, and resume each other's sessions", async () => {
    const seen = new Map<string, { serial: string; session: Buffer }>();
    let tunnels = 0;
    while (seen.size < 2) {
      const made = await Promise.all(
        Array.from({ length: 16 }, () => tunnelled(cluster, `/leaf-${tunnels++}`)),
      );
      for (const { worker, serial, session } of made) seen.set(worker, { serial, session });
      expect(tunnels).toBeLessThan(1_000);
    }
    const [one, two] = [seen.get("1"), seen.get("2")];
    expect(one?.serial).toBe(two?.serial);
    const { text } = await cluster.admin("/metrics");
    expect(text).toMatch(/^sallyport_leaves_minted_total 1$/m);

    const resumedBy = new Set<string>();
    while (resumedBy.size < 2) {
      const made = await Promise.all(
        Array.from({ length: 16 }, () => tunnelled(cluster, `/resumed-${tunnels++}`, one?.session)),
      );
      for (const { worker, resumed } of made) {
        expect(resumed).toBe(true);
        resumedBy.add(worker);
      }
      expect(tunnels).toBeLessThan(2_000);
    }
  });

  test("know the pseudonym, the addresses and the wrong guesses of each other", async () => {
    // Whichever worker takes it, neither the admin listener of the primary nor a listener of their own is an origin.
    for (const port of [cluster.child.adminPort, cluster.child.port]) {
      using sandbox = await wire(cluster.child.port);
      sandbox.send(`GET http://a.test:${port}/ HTTP/1.1\r\nHost: a.test:${port}\r\n\r\n`);
      expect(await sandbox.until((text) => answers(text).length === 1)).toContain("address-own");
    }
    const pseudonyms = [...cluster.origin.received.matchAll(/^via: 1\.1 (\S+)/gim)].map(([, name]) => name);
    expect(new Set(pseudonyms).size).toBe(1);

    const wrong = `Proxy-Authorization: Basic ${Buffer.from("one:secret-of-two-16").toString("base64")}\r\n`;
    const right = `Proxy-Authorization: Basic ${Buffer.from("one:secret-of-one-16").toString("base64")}\r\n`;
    const host = `a.test:${cluster.origin.port}`;
    const ask = async (field: string): Promise<string> => {
      using sandbox = await wire(cluster.child.port);
      sandbox.send(`GET http://${host}/guess HTTP/1.1\r\nHost: ${host}\r\n${field}\r\n`);
      return (await sandbox.until((text) => answers(text).length === 1)).slice(9, 12);
    };
    for (let guess = 0; guess < 11; guess++) expect(await ask(wrong)).toBe("407");
    // Now every worker waits, also one that saw no guess: the right ones are not looked at either.
    const after = await Promise.all(Array.from({ length: 32 }, () => ask(right)));
    expect(new Set(after)).toEqual(new Set(["407"]));
  });
});

function count(records: readonly { readonly type: string }[], type: string): number {
  return records.filter((record) => record.type === type).length;
}

async function tunnelled(on: Cluster, path: string, session?: Buffer) {
  const authority = `a.test:${on.secureOrigin.port}`;
  const outer = await wire(on.child.port);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await outer.until((text) => text.includes("\r\n\r\n"));
  outer.socket.removeAllListeners("data");
  const secured: TLSSocket = connectTls({
    socket: outer.socket,
    servername: "a.test",
    ca: on.trustAnchor,
    ...(session !== undefined && { session }),
  });
  const ticket = once(secured, "session") as Promise<[Buffer]>;
  await once(secured, "secureConnect");
  using inner = wireOf(secured);
  inner.send(`GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  expect(await inner.until((text) => answers(text).length === 1)).toMatch(/^HTTP\/1\.1 200 /);
  const [resumable] = session === undefined ? await ticket : [session];
  const record = (await on.records()).find((one) => one["path"] === path);
  return {
    worker: workerOf(record),
    serial: secured.getPeerCertificate().serialNumber,
    session: resumable,
    resumed: secured.isSessionReused(),
  };
}
