// Hostile openings by every door of the one port: halves of every handshake, floods of them, sandboxes that leave in the
// middle, an audit log that cannot be written, an origin that cannot be reached in time. Nothing stays open, nothing leaves.

import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { capture } from "../net/hellos.ts";
import { type FaultBench, faultBench } from "../proxy/bench-of-faults.ts";
import { dialPort, Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { NO_CREDENTIALS, octets, socks5, socks5Request } from "../support/ways/socks5.ts";

const ENDS: Readonly<Record<string, (socket: Socket) => void>> = {
  reset: (socket) => socket.resetAndDestroy(),
  end: (socket) => socket.end(),
  silence: () => {},
};

describe("openings that come to nothing", () => {
  let proxy: RunningSallyport;
  let origin: RecordingOrigin;
  let hello: Buffer;

  beforeAll(async () => {
    origin = await recordingOrigin();
    hello = await capture({ servername: "proxy.test" });
    proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
tls: { names: [proxy.test] }
anonymous: default
limits: { head_time: 300ms, handshake: 300ms, tunnel_idle: 300ms, drain: 1s }
policies:
  default:
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
    tcp: [{ host: origin.test, ports: [${origin.port}], networks: [127.0.0.0/8] }]
`);
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  });

  const nothingOpen = async (): Promise<void> => {
    for (let looks = 0; looks < 200; looks++) {
      if ((await proxy.metrics()).includes("\nsallyport_connections_open 0\n")) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await proxy.metrics()).toContain("\nsallyport_connections_open 0\n");
  };

  test.each(Object.keys(ENDS))(
    "a flood of halves, then %s: nothing stays open, and each decision is completed",
    async (end) => {
      origin.behave(() => {});
      const request = socks5Request("origin.test", origin.port);
      const halves = [
        Buffer.alloc(0),
        Buffer.from([5]),
        Buffer.from([5, 2, 0]),
        NO_CREDENTIALS,
        Buffer.from([5, 1, 2, 1, 4, 99]),
        Buffer.concat([NO_CREDENTIALS, request.subarray(0, 9)]),
        Buffer.concat([NO_CREDENTIALS, request]),
        Buffer.concat([NO_CREDENTIALS, request, Buffer.from("more")]),
        hello.subarray(0, 1),
        hello.subarray(0, 100),
        hello,
        Buffer.concat([hello, hello]),
        Buffer.from("PROXY TCP4"),
        Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1"),
      ];
      await Promise.all(
        Array.from({ length: 10 }, () => halves)
          .flat()
          .map(async (half) => {
            const wire = await dialPort(proxy.port);
            wire.write(half);
            await new Promise(setImmediate);
            ENDS[end]!(wire.socket);
            if (end !== "reset") await wire.until(() => false);
            wire.socket.destroy();
          }),
      );
      await nothingOpen();
      await proxy.recorded(settled);
    },
  );

  test("TLS in TLS, over and over: all of it ends", async () => {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connectTls({
          port: proxy.port,
          host: "127.0.0.1",
          ca: proxy.trustAnchor,
          servername: "proxy.test",
        });
        socket.on("error", () => {});
        await once(socket, "secureConnect");
        const wire = new Wire(socket);
        expect(await socks5(wire, { host: "origin.test", port: 443 })).toBe(0);
        wire.write(hello.subarray(0, 200));
        await wire.until(() => false);
        socket.destroy();
      }),
    );
    await nothingOpen();
    const reasons = exchanges(await proxy.recorded(settled)).map(({ decision }) => decision["reason"]);
    expect(reasons.filter((reason) => reason === "handshake-failed").length).toBeGreaterThanOrEqual(20);
  });
});

describe("faults under SOCKS5 and raw TCP", () => {
  const ca = createCa();
  let origin: RecordingOrigin;
  let bench: FaultBench;

  beforeAll(async () => {
    origin = await recordingOrigin(ca.issue({ names: ["spliced.test"] }));
    bench = await faultBench(ca, origin.port);
  });

  beforeEach(() => origin.reset());
  afterEach(() => void (bench.hook = () => {}));

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  });

  const ended = async (): Promise<void> => {
    while (bench.live.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const { decisions, completions } of bench.entries)
      expect(completions).toHaveLength(decisions.length);
  };

  test.each(["raw.test", "spliced.test", "origin.test"])(
    "%s: no record, no dial, no success",
    async (host) => {
      bench.hook = (operation) => {
        if (operation === "audit") throw new ProxyFault("audit-unavailable");
      };
      const wire = await dialPort(bench.port);
      expect(await socks5(wire, { host, port: origin.port })).toBe(1);
      expect(await wire.rest()).toBe("");
      await wire[Symbol.asyncDispose]();
      expect(origin.connections).toBe(0);
      while (bench.live.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    },
  );

  test.each([
    ["resolve", "dns-timeout", 4],
    ["dial", "upstream-timeout", 6],
    ["dial", "upstream-unreachable", 3],
    ["dial", "internal-error", 1],
  ] as const)("%s fails with %s: reply %i", async (failing, reason, code) => {
    bench.hook = (operation) => {
      if (operation === failing) throw new ProxyFault(reason);
    };
    const wire = await dialPort(bench.port);
    expect(await socks5(wire, { host: "raw.test", port: origin.port })).toBe(code);
    await wire.rest();
    await wire[Symbol.asyncDispose]();
    expect(origin.connections).toBe(0);
    await ended();
    const last = bench.entries.at(-1);
    expect([last?.decisions[0]?.reason, last?.completions[0]?.reason]).toContain(reason);
  });

  test.each(["leaves", "is cut off"])(
    "a sandbox that %s while the origin is dialed: the origin's connection ends",
    async (how) => {
      const dialing = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      bench.hook = (operation) => {
        if (operation !== "dial") return undefined;
        dialing.resolve();
        return released.promise;
      };
      const wire = await dialPort(bench.port);
      wire.write(Buffer.concat([NO_CREDENTIALS, socks5Request("raw.test", origin.port)]));
      await octets(wire, 2);
      await dialing.promise;
      if (how === "leaves") {
        wire.socket.resetAndDestroy();
        while (bench.live.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      } else {
        bench.live.rejudge(bench.nothing);
      }
      released.resolve();
      if (how === "leaves") expect(origin.connections).toBeLessThanOrEqual(1);
      else expect((await octets(wire, 10))[1]).toBe(2);
      wire.socket.destroy();
      await ended();
      const last = bench.entries.at(-1);
      expect(last?.completions[0]).toMatchObject(
        how === "leaves" ? { outcome: "aborted" } : { reason: "policy-changed" },
      );
      expect(last?.completions[0]).toMatchObject({ bytesUp: 0 });
    },
  );
});
