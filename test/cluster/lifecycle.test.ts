// Workers come and go, and sandboxes do not notice: kills, restarts one by one, reloads and the stop, all of them under load.

import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import type { ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { sallyportHere } from "../cli/support.ts";
import { answerOf, http2Client } from "../support/http2.ts";
import { answers, tunnelWire, wire } from "../support/wire.ts";
import { type Cluster, load, startCluster } from "./support.ts";

// Several processes start, each of which compiles what it runs.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: Cluster;
let target: string;
beforeEach(async () => {
  cluster = await startCluster();
  target = `http://a.test:${cluster.origin.port}/`;
});
afterEach(() => cluster[Symbol.asyncDispose]());

async function ready(): Promise<{ ready: boolean; generation: number; workers: { ready: number } }> {
  const { text } = await cluster.admin("/readyz");
  return JSON.parse(text) as Awaited<ReturnType<typeof ready>>;
}

describe("a worker that is killed", () => {
  test("refuses nobody: the others take what comes, its chain is sealed, and one takes its place", async () => {
    const [first = 0] = cluster.pids();
    let killed = false;
    const outcome = await load(cluster.child.port, target, {
      enough: ({ answered }) => {
        if (answered >= 100 && !killed) process.kill(first, "SIGKILL");
        killed = answered >= 100;
        return answered >= 600;
      },
    });
    expect(outcome.refused).toBe(0);
    // What it had accepted itself goes with it, and nothing else.
    expect(outcome.cut).toBeLessThanOrEqual(8);
    await cluster.child.logged(/"cause":"crashed".*"msg":"a worker ended"/);
    await expect.poll(async () => (await ready()).workers.ready).toBe(2);
    expect(cluster.pids()).toHaveLength(3);
    const { text } = await cluster.admin("/metrics");
    expect(text).toMatch(/^sallyport_worker_ends_total\{cause="crashed"\} 1$/m);

    const records = await cluster.records();
    expect(records.some(({ type, cause }) => type === "recovered" && cause === "open")).toBe(true);
    expect(records.filter(({ type }) => type === "worker")).toHaveLength(4);
    const verified = await sallyportHere(["audit", "verify"], { cwd: cluster.directory });
    expect(verified).toMatchObject({ status: 0 });
  });

  test("again and again, ends the proxy with an error that says why", async () => {
    // Whatever starts finds no directory for its chain.
    for (const name of ["worker-1", "worker-2"]) {
      await rename(join(cluster.audit, name), join(cluster.audit, `moved-${name}`));
      await writeFile(join(cluster.audit, name), "");
    }
    for (const pid of cluster.pids()) process.kill(pid, "SIGKILL");
    await cluster.child.logged(/"restartMs":100\b.*"msg":"a worker ended"/);
    const { status } = await cluster.admin("/readyz");
    expect(status).toBe(503);
    expect(await cluster.child.ended).toBe(1);
    expect(cluster.child.log.join("\n")).toContain("no worker can be kept running");
    const ends = cluster.child.log.filter((line) => line.includes("a worker ended"));
    expect(ends.length).toBeLessThanOrEqual(10);
    for (const name of ["worker-1", "worker-2"]) await rm(join(cluster.audit, name));
  });

  test("with the primary: all end, the port is free and the chains are whole", async () => {
    using idle = await wire(cluster.child.port);
    idle.send(`GET ${target} HTTP/1.1\r\nHost: ${new URL(target).host}\r\n\r\n`);
    await idle.until((text) => answers(text).length === 1);
    cluster.child.signal("SIGKILL");
    // The log is a pipe that workers hold too: it ends with the last of them.
    expect(await cluster.child.ended).toBe("SIGKILL");
    await idle.closed;
    await expect(wire(cluster.child.port)).rejects.toThrow("ECONNREFUSED");
    const verified = await sallyportHere(["audit", "verify"], { cwd: cluster.directory });
    expect(verified).toMatchObject({ status: 0 });
    expect((await cluster.records()).filter(({ type }) => type === "stop")).toHaveLength(2);
  });
});

describe("SIGUSR2", () => {
  test("restarts the workers one by one, and every request is answered", async () => {
    const before = cluster.pids();
    let told = false;
    let over = false;
    void cluster.child.logged(/"msg":"the workers are restarted"/).then(() => (over = true));
    const kept = keepAlive(() => over);
    const outcome = await load(cluster.child.port, target, {
      enough: ({ answered }) => {
        if (answered >= 50 && !told) cluster.child.signal("SIGUSR2");
        told = answered >= 50;
        return over;
      },
    });
    expect(outcome).toMatchObject({ refused: 0, cut: 0 });
    expect(await kept).toMatchObject({ cut: 0 });
    expect(cluster.pids()).toHaveLength(4);
    for (const pid of before) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    const { text } = await cluster.admin("/metrics");
    expect(text).toMatch(/^sallyport_worker_ends_total\{cause="asked"\} 2$/m);
    // Nothing that an ended worker counted is lost.
    const counted = [...text.matchAll(/^sallyport_decisions_total\{verdict="allow".*\} (\d+)$/gm)];
    const made = outcome.answered + (await kept).answered;
    expect(counted.reduce((sum, [, value]) => sum + Number(value), 0)).toBe(made);
    expect(await sallyportHere(["audit", "verify"], { cwd: cluster.directory })).toMatchObject({ status: 0 });
  });

  test("ends HTTP/2 connections by GOAWAY: every stream that was taken is answered, and the next connection is served", async () => {
    let told = false;
    let over = false;
    void cluster.child.logged(/"msg":"the workers are restarted"/).then(() => (over = true));
    const restarted = (): boolean => over;
    const authority = `a.test:${cluster.secureOrigin.port}`;
    const outcome = { answered: 0, notTaken: 0, cut: 0, connections: 0 };
    const few = async (session: ClientHttp2Session, last: () => number): Promise<void> => {
      const streams = Array.from({ length: 4 }, () => session.request({ ":path": "/" }));
      for (const stream of streams) stream.end();
      for (const [at, { status }] of (await Promise.all(streams.map(answerOf))).entries()) {
        const taken = (streams[at]?.id ?? Infinity) <= last();
        outcome[status === 200 ? "answered" : taken ? "cut" : "notTaken"]++;
      }
      if (outcome.answered >= 50 && !told) cluster.child.signal("SIGUSR2");
      told ||= outcome.answered >= 50;
    };
    const lane = async (): Promise<void> => {
      while (!restarted()) {
        using client = await http2Client(cluster.child.port, { authority, trustAnchor: cluster.trustAnchor });
        outcome.connections++;
        const { session } = client;
        // Until GOAWAY says otherwise, every stream was taken.
        let final = Infinity;
        session.on("goaway", (_code, stream) => void (final = Number(stream)));
        const last = (): number => final;
        while (!restarted() && !session.closed && !session.destroyed) await few(session, last);
      }
    };
    await Promise.all([lane(), lane(), lane()]);
    expect(outcome.cut).toBe(0);
    expect(outcome.answered).toBeGreaterThan(50);
    // Each of the first workers let its connections go.
    expect(outcome.connections).toBeGreaterThan(3);
    const requests = (await cluster.records()).filter(
      ({ type, kind }) => type === "decision" && kind === "request",
    );
    expect(requests).toHaveLength(outcome.answered);
    expect(await sallyportHere(["audit", "verify"], { cwd: cluster.directory })).toMatchObject({ status: 0 });
  });

  /** Requests one after the other on connections that are kept until an answer says that they end. */
  async function keepAlive(over: () => boolean): Promise<{ answered: number; cut: number }> {
    const outcome = { answered: 0, cut: 0 };
    while (!over()) {
      using sandbox = await wire(cluster.child.port);
      for (let sent = 1; ; sent++) {
        sandbox.send(`GET ${target} HTTP/1.1\r\nHost: ${new URL(target).host}\r\n\r\n`);
        const text = await sandbox.until((received) => answers(received).length === sent);
        outcome[answers(text).length === sent ? "answered" : "cut"]++;
        if (!sandbox.open || /^connection: close/im.test(answers(text).at(-1) ?? "") || over()) break;
      }
    }
    return outcome;
  }
});

describe("a reload", () => {
  test("holds everywhere once it is told, and an invalid one changes nothing", async () => {
    let stop = false;
    const loaded = load(cluster.child.port, target, { lanes: 2, enough: () => stop });
    await cluster.reconfigure({ hosts: "b.test" });
    await cluster.child.logged(/"generation":2,"msg":"configuration reloaded"/);
    const told = Date.now();
    stop = true;
    await loaded;
    expect((await ready()).generation).toBe(2);
    const after = await load(cluster.child.port, target, {
      lanes: 16,
      enough: ({ cut }) => cut >= 64,
    });
    // No worker answers by the generation before.
    expect(after).toMatchObject({ answered: 0, refused: 0 });
    const late = (await cluster.records()).filter(
      ({ verdict, at, generation }) =>
        verdict === "allow" && generation === 1 && Date.parse(String(at)) > told,
    );
    expect(late).toEqual([]);
    expect((await cluster.admin("/metrics")).text).toMatch(/^sallyport_policy_generation 2$/m);

    await writeFile(join(cluster.directory, "sallyport.yaml"), "workers: 65\n");
    await cluster.child.logged(/configuration is not valid/);
    expect(await ready()).toMatchObject({ ready: true, generation: 2 });
    expect((await cluster.admin("/metrics")).text).toMatch(/^sallyport_config_last_reload_success 0$/m);

    // One that starts later has what was judged, and never reads the file.
    const [first = 0] = cluster.pids();
    process.kill(first, "SIGKILL");
    await expect.poll(() => cluster.pids().length).toBe(3);
    expect(await ready()).toMatchObject({ ready: true, generation: 2 });
  });

  test("replaces a worker that does not answer", async () => {
    const [first = 0] = cluster.pids();
    process.kill(first, "SIGSTOP");
    await cluster.reconfigure({ hosts: "b.test" });
    cluster.child.signal("SIGHUP");
    await cluster.child.logged(/"cause":"unresponsive".*"msg":"a worker ended"/);
    await cluster.child.logged(/"generation":2,"msg":"configuration reloaded"/);
    await expect.poll(async () => (await ready()).workers.ready).toBe(2);
  });
});

describe("a primary that does not answer", () => {
  test("leaves what is known served, and mints nothing for nobody: mint-unavailable", async () => {
    cluster.child.signal("SIGSTOP");
    try {
      const authority = `b.test:${cluster.secureOrigin.port}`;
      await expect(
        tunnelWire(cluster.child.port, { authority, trustAnchor: cluster.trustAnchor }),
      ).rejects.toThrow();
      const outcome = await load(cluster.child.port, target, { enough: ({ answered }) => answered >= 10 });
      expect(outcome).toMatchObject({ refused: 0, cut: 0 });
    } finally {
      cluster.child.signal("SIGCONT");
    }
    const completed = (await cluster.records()).filter(({ reason }) => reason === "mint-unavailable");
    expect(completed.map(({ type, outcome }) => [type, outcome])).toEqual([["completion", "fault"]]);
    expect(cluster.secureOrigin.received).toBe("");
    // The answer that came too late does no harm, and the next question is answered.
    const authority = `a.test:${cluster.secureOrigin.port}`;
    using sandbox = await tunnelWire(cluster.child.port, { authority, trustAnchor: cluster.trustAnchor });
    sandbox.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(await sandbox.until((text) => answers(text).length === 1)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("the start and the stop", () => {
  test("a stop drains every worker and ends with 0", async () => {
    const { received } = cluster.origin;
    expect(received).toBe("");
    cluster.origin.behave((socket) => void socket);
    using sandbox = await wire(cluster.child.port);
    sandbox.send(`GET ${target} HTTP/1.1\r\nHost: ${new URL(target).host}\r\n\r\n`);
    await cluster.origin.arrived((text) => text.includes("\r\n\r\n"));
    let answer = (): void => {};
    cluster.origin.behave((socket) => {
      answer = () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    using other = await wire(cluster.child.port);
    other.send(`GET ${target} HTTP/1.1\r\nHost: ${new URL(target).host}\r\n\r\n`);
    await cluster.origin.arrived((text) => text.split("\r\n\r\n").length > 2);
    cluster.child.signal("SIGTERM");
    await cluster.child.logged(/"msg":"draining"/);
    answer();
    expect(await other.until((text) => answers(text).length === 1)).toMatch(/^HTTP\/1\.1 200 /);
    sandbox.socket.destroy();
    expect(await cluster.child.ended).toBe(0);
    expect((await cluster.records()).filter(({ type }) => type === "stop")).toHaveLength(3);
    const verified = await sallyportHere(["audit", "verify"], { cwd: cluster.directory });
    expect(verified).toMatchObject({ status: 0 });
  });

  test("a chain that is gone is missed", async () => {
    await mkdir(join(cluster.directory, "elsewhere"));
    await rename(join(cluster.audit, "worker-2"), join(cluster.directory, "elsewhere", "worker-2"));
    const verified = await sallyportHere(["audit", "verify"], { cwd: cluster.directory });
    expect(verified.status).toBe(1);
    expect(verified.stdout).toContain("worker-2: missing");
  });
});
