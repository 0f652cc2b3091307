// Many sandboxes that do anything at any time, seeded: in the end every decision has its completion, nothing is counted as
// under way, and no connection is left on either side.

import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";

test("nothing is left behind", { timeout: 40_000 }, async () => {
  const ca = createCa();
  await using plain = await recordingOrigin();
  await using secure = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test"] }));
  const random = mulberry32(20_261_122);
  const pick = <T>(...of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const open = new Set<Socket>();
  const behave = (socket: Socket): void => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    const kind = random();
    if (kind < 0.6) return answerRequests(() => OK)(socket);
    socket.once("data", () => {
      if (kind < 0.7) socket.destroy();
      else if (kind < 0.8) socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
      else if (kind < 0.9) socket.write("HTTP/1.1 200 OK\r\n\r\nforever");
      else socket.write("nonsense\r\n\r\n");
    });
  };
  plain.behave(behave);
  secure.behave(behave);
  await using proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] }, pool: { idle: 500ms } }
anonymous: default
limits: { drain: 1s, handshake: 1s, body_idle: 1s, response_head: 1s, head_time: 1s, idle: 1s, tunnel_idle: 1s }
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, networks: [127.0.0.0/8] }
`);
  const request = (authority: string, target: string): string =>
    pick(
      `GET ${target}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
      `POST ${target}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 4\r\n\r\nabcd`,
      `POST ${target}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 400000\r\n\r\nabcd`,
      `POST ${target}/ HTTP/1.1\r\nHost: ${authority}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nx`,
      `GET ${target}/ HTTP/1.1\r\nHost: other.test\r\n\r\n`,
      "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
      "nonsense\r\n\r\n",
      "GET ",
    );
  const leave = async (wire: Wire): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, Math.floor(random() * 30)));
    const how = random();
    if (how < 0.3) wire.socket.destroy();
    else if (how < 0.5) wire.socket.end();
    else await wire.until(() => wire.all.includes("\r\n\r\n"));
    await new Promise((resolve) => setTimeout(resolve, Math.floor(random() * 30)));
    await wire[Symbol.asyncDispose]();
  };
  const one = async (): Promise<void> => {
    if (random() < 0.5) {
      const wire = await dialPort(proxy.port);
      const authority = `origin.test:${plain.port}`;
      wire.write(
        request(authority, `http://${authority}`) + pick("", request(authority, `http://${authority}`)),
      );
      return leave(wire);
    }
    const host = pick("origin.test", "spliced.test");
    const authority = `${host}:${secure.port}`;
    if (random() < 0.3) {
      const wire = await dialPort(proxy.port);
      wire.write(
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n${pick("", "\x16\x03", "GET / H")}`,
      );
      return leave(wire);
    }
    const wire = await openTunnel({
      port: proxy.port,
      target: authority,
      tls: { ca: pick([proxy.trustAnchor, ca.cert], [ca.cert]), servername: pick(host, host, "evil.test") },
    });
    if (!(wire instanceof Wire)) return undefined;
    wire.write(request(authority, ""));
    return leave(wire);
  };
  const worker = async (): Promise<void> => {
    for (let i = 0; i < 25; i++) await one();
  };
  await Promise.all(Array.from({ length: 8 }, worker));

  const gauges = async (): Promise<string[]> =>
    (await proxy.metrics())
      .split("\n")
      .filter((line) => /^sallyport_\w*(in_flight|open)\w*(\{[^}]*\})? /.test(line))
      .map((line) => line.replace(/.* /, ""));
  for (let tries = 0; tries < 60; tries++) {
    if ((await gauges()).every((value) => value === "0") && settled(await proxy.records())) break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect((await gauges()).length).toBeGreaterThan(1);
  expect(new Set(await gauges())).toEqual(new Set(["0"]));
  expect(open.size).toBe(0);
  const records = await proxy.records();
  expect(exchanges(records).length).toBeGreaterThan(150);
  expect(exchanges(records).filter(({ completions }) => completions !== 1)).toEqual([]);
});

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
