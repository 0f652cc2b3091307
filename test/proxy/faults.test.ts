// Fails the N-th operation, for every N and in every way, and asks the same of each: nothing leaves without its decision,
// everything decided is completed once, nothing is left open, and whoever asked is told or cut off, never left waiting.

import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { answers, tunnelWire, wire, wireOf, type Wire } from "../support/wire.ts";
import { faultBench, type FaultBench, type Operation } from "./bench-of-faults.ts";

const ca = createCa();
let bench: FaultBench;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
const open = new Set<Wire>();
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);

beforeAll(async () => {
  bench = await faultBench(ca);
  plain = await recordingOrigin();
  secure = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test"] }));
  process.on("unhandledRejection", onUnhandled);
});
afterAll(async () => {
  process.off("unhandledRejection", onUnhandled);
  await bench[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
});

/** How it ended, for each request: a status, or that the connection was closed. */
type Ends = (number | "closed")[];

async function ask(one: Wire, octets: string): Promise<number | "closed"> {
  const before = answers(one.received).length;
  one.send(octets);
  const answer = answers(await one.until((text) => answers(text).length > before))[before];
  return answer === undefined ? "closed" : Number(answer.slice(9, 12));
}

async function kept(opening: Promise<Wire>): Promise<Wire | undefined> {
  const one = await opening.catch(() => undefined);
  if (one !== undefined) open.add(one);
  return one;
}

/** Everything a sandbox may do, once. */
async function scenario(): Promise<Ends> {
  const ends: Ends = [];
  const authority = `origin.test:${plain.port}`;
  const host = `Host: ${authority}\r\n`;
  const first = await kept(wire(bench.port));
  if (first !== undefined) {
    ends.push(await ask(first, `GET http://${authority}/1 HTTP/1.1\r\n${host}\r\n`));
    ends.push(
      await ask(first, `POST http://${authority}/2 HTTP/1.1\r\n${host}Content-Length: 6\r\n\r\nsecret`),
    );
    ends.push(await ask(first, "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n"));
    ends.push(await ask(first, "GET nonsense HTTP/1.1\r\n\r\n"));
  }
  const within = `origin.test:${secure.port}`;
  const tunnel = await kept(tunnelWire(bench.port, { authority: within, trustAnchor: bench.trustAnchor }));
  if (tunnel !== undefined) {
    ends.push(await ask(tunnel, `GET /3 HTTP/1.1\r\nHost: ${within}\r\n\r\n`));
    ends.push(await ask(tunnel, `POST /4 HTTP/1.1\r\nHost: ${within}\r\nContent-Length: 6\r\n\r\nsecret`));
  }
  const spliced = await kept(spliceWire(`spliced.test:${secure.port}`));
  if (spliced !== undefined)
    ends.push(await ask(spliced, "GET /spliced HTTP/1.1\r\nHost: spliced.test\r\n\r\n"));
  for (const one of open) one.socket.destroy();
  open.clear();
  return ends;
}

async function spliceWire(authority: string): Promise<Wire> {
  const outer = await wire(bench.port);
  open.add(outer);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const answer = await outer.until((text) => text.includes("\r\n\r\n"));
  if (!answer.startsWith("HTTP/1.1 200")) throw new Error(answer);
  outer.socket.removeAllListeners("data");
  const secured = connectTls({ socket: outer.socket, servername: "spliced.test", ca: ca.cert });
  // Where the connection under it is destroyed, there may be no error.
  const gone = once(outer.socket, "close").then(() => Promise.reject(new Error("closed")));
  gone.catch(() => {});
  await Promise.race([once(secured, "secureConnect"), gone]);
  return wireOf(secured);
}

/** Resolves when nothing is under way any more. */
async function quiet(): Promise<void> {
  await expect.poll(() => bench.live.connections, { timeout: 8_000, interval: 5 }).toBe(0);
  await expect.poll(inFlight, { timeout: 8_000, interval: 5 }).toEqual([0, 0, 0, 0]);
}

async function inFlight(): Promise<number[]> {
  const text = await bench.parts.metrics.exposition();
  return [...text.matchAll(/^sallyport_exchanges_in_flight\{.*\} (\d+)$/gm)].map(([, count]) =>
    Number(count),
  );
}

function expectHeld(when: string): void {
  const allowed = (path: string, kind = "request"): number =>
    bench.entries.filter(
      ({ subject, decisions }) =>
        subject.kind === kind && (subject.path ?? subject.host) === path && decisions[0]?.verdict === "allow",
    ).length;
  for (const { received } of [plain, secure]) {
    for (const [, path] of received.matchAll(/^(?:secret)?(?:GET|POST) (\/\d) HTTP/gm))
      expect(allowed(path ?? ""), `${when}: ${path} left without its decision`).toBe(1);
    if (received.includes("/spliced")) expect(allowed("spliced.test", "connect"), when).toBe(1);
  }
  for (const { subject, decisions, completions } of bench.entries) {
    expect(decisions.length, `${when}: decisions of ${subject.kind} ${subject.path}`).toBeLessThanOrEqual(1);
    // A refused decision's completion is dropped by the log itself.
    if (decisions.length === 1)
      expect(completions.length, `${when}: completions of ${subject.kind} ${subject.path}`).toBe(1);
  }
  expect(unhandled, when).toEqual([]);
}

async function run(
  act: (count: number, operation: Operation) => Promise<void> | void,
): Promise<{ ends: Ends; operations: Operation[] }> {
  const operations: Operation[] = [];
  (bench.entries as unknown[]).length = 0;
  plain.reset();
  secure.reset();
  bench.hook = (operation) => {
    operations.push(operation);
    return act(operations.length, operation);
  };
  const ends = await scenario();
  await quiet();
  return { ends, operations };
}

const idleSockets = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

describe("the N-th operation", async () => {
  const wanted = [200, 200, 403, 400, 200, 200, 200];

  test("none failing, everything works, and these are the operations", async () => {
    const { ends, operations } = await run(() => {});
    expect(ends).toEqual(wanted);
    expectHeld("no fault");
    expect(new Set(operations)).toEqual(new Set(["audit", "resolve", "connect", "send", "dial", "mint"]));
  });

  const faults: Record<Operation, ProxyFault["reason"]> = {
    audit: "audit-unavailable",
    resolve: "dns-timeout",
    connect: "certificate-expired",
    dial: "upstream-refused",
    send: "upstream-reset",
    mint: "mint-limit",
  };
  const ways: [string, (operation: Operation) => Promise<void> | void][] = [
    [
      "fails",
      (operation) => {
        throw new ProxyFault(faults[operation] ?? "internal-error");
      },
    ],
    [
      "breaks",
      () => {
        throw new TypeError("a defect");
      },
    ],
    [
      "fails late",
      async (operation) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        throw new ProxyFault(faults[operation] ?? "internal-error");
      },
    ],
    [
      "meets a sandbox that has left",
      async () => {
        for (const one of open) one.socket.destroy();
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    ],
    [
      "meets a policy that allows nothing any more",
      async () => {
        bench.live.rejudge(bench.nothing);
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    ],
  ];
  test.each(ways)("%s", { timeout: 60_000 }, async (name, act) => {
    // Fails beyond the last operation once, to know that all have had their turn.
    for (let nth = 1, total = nth; nth <= total; nth++) {
      let failed: Operation | undefined;
      const { ends, operations } = await run((count, operation) => {
        if (count !== nth) return undefined;
        failed = operation;
        return act(operation);
      });
      total = Math.max(total, operations.length);
      const when = `${name}: operation ${nth}, ${failed}`;
      expectHeld(when);
      if (failed === "audit" && !name.startsWith("meets")) {
        const refused = bench.entries.filter(({ decisions }) => decisions.length === 0);
        expect(refused.length, when).toBe(1);
        const path = refused[0]?.subject.path;
        if (path !== undefined && /^\/\d$/.test(path))
          expect(plain.received + secure.received, when).not.toContain(`${path} HTTP`);
        expect(ends, when).toSatisfy(
          (all: Ends) => all.includes(503) || all.length < wanted.length || all.includes("closed"),
        );
      }
    }
    // Only the pools' idle connections and their other ends are still there, and go with them.
    await expect.poll(idleSockets, { timeout: 8_000 }).toBe(0);
  });
});
